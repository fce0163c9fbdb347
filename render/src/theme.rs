//! What has which colour, on a light ground and on a dark one. The page has the same colours from here.

use impala_env::named;
use impala_env::scene::Paint;

/// Red, green, blue.
pub type Colour = [u8; 3];

/// How unlike two colours are: the sum of the squares of their differences.
pub(crate) fn distance(a: Colour, b: Colour) -> u32 {
    a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(b)).pow(2)).sum()
}

/// Which ground is drawn on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// Dark on light, as on paper.
    Light,
    /// Light on dark, as in most terminals.
    Dark,
}

/// What is drawn besides shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Behind everything.
    Background,
    /// Separates, and what has not happened yet.
    Rule,
    /// Labels.
    Muted,
    /// Numbers and names.
    Text,
    /// What is so now: the action that is chosen, the place on a curve.
    Accent,
}

impl Theme {
    /// Both, in the order in which help texts name them.
    pub const ALL: [Self; 2] = [Self::Light, Self::Dark];

    /// The name in flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The colour of what a shape stands for.
    pub fn paint(self, paint: Paint) -> Colour {
        let (light, dark) = match paint {
            Paint::Range => (0xe8ecf2, 0x1e252f),
            Paint::Ground => (0x7d8590, 0x767e89),
            Paint::Bound => (0xd13b47, 0xf06c6c),
            Paint::Body => (0x2b5fc4, 0x5b94f5),
            Paint::Limb | Paint::Target => (0xe08a2e, 0xf0a550),
            Paint::Joint => (0xfff4e3, 0x3a2a17),
        };
        self.of(light, dark)
    }

    /// The colour of anything else.
    pub fn role(self, role: Role) -> Colour {
        let (light, dark) = match role {
            Role::Background => (0xffffff, 0x0d1117),
            Role::Rule => (0xd5dae1, 0x303742),
            Role::Muted => (0x656d77, 0x8d96a1),
            Role::Text => (0x1c2128, 0xe6edf3),
            Role::Accent => (0x2b5fc4, 0x5b94f5),
        };
        self.of(light, dark)
    }

    fn of(self, light: u32, dark: u32) -> Colour {
        let [_, red, green, blue] = if self == Self::Light { light } else { dark }.to_be_bytes();
        [red, green, blue]
    }
}

impl Role {
    /// Each of them, in the order of their declaration.
    pub const ALL: [Self; 5] = [Self::Background, Self::Rule, Self::Muted, Self::Text, Self::Accent];
}

named!(Theme, "theme");

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance by WCAG 2.2.
    fn luminance(colour: Colour) -> f64 {
        let linear = colour.map(|x| {
            let x = f64::from(x) / 255.0;
            if x <= 0.04045 { x / 12.92 } else { ((x + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    fn contrast(a: Colour, b: Colour) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn text_is_read_and_shapes_are_seen_on_both_grounds() {
        for theme in Theme::ALL {
            let ground = theme.role(Role::Background);
            for text in [Role::Text, Role::Muted, Role::Accent] {
                assert!(contrast(theme.role(text), ground) >= 4.5, "{theme}: {text:?}");
            }
            for paint in [Paint::Ground, Paint::Bound, Paint::Body, Paint::Limb, Paint::Target] {
                assert!(contrast(theme.paint(paint), ground) >= 2.5, "{theme}: {paint:?}");
            }
        }
    }

    #[test]
    fn themes_are_named() {
        assert_eq!("dark".parse(), Ok(Theme::Dark));
        assert_eq!("sepia".parse::<Theme>().unwrap_err(), "unknown theme `sepia`: use one of light, dark");
    }
}
