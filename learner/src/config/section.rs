//! The macro that declares a section. From one table come what a person may give (flags, environment variables, keys of the
//! file), the complete section, the bounds, and the descriptions.

/// Declares a section: the complete type, the type of what is given, the heading, and a line for each setting:
///
/// ```text
/// key: Type = default, "the default in words", "IMPALA_KEY", "Help." in Bounds;
/// ```
///
/// A setting without `= default` is an `Option` in the complete section. `in Bounds` is left out where the type says all.
macro_rules! section {
    (
        $(#[$doc:meta])*
        $name:ident from $given:ident, $heading:literal {
            $(
                $(#[clap($($clap:tt)*)])?
                $key:ident: $type:ty $(= $default:expr)?, $text:literal, $variable:literal, $help:literal $(in $bounds:expr)?;
            )*
        }
    ) => {
        #[doc = concat!("What a person gave of [`", stringify!($name), "`] by flag, environment variable or file; the rest is absent.")]
        #[derive(Clone, Debug, Default, PartialEq, clap::Args)]
        #[group(skip)]
        pub struct $given {
            $(
                #[doc = $help]
                #[arg(
                    long,
                    env = $variable,
                    hide_env_values = true,
                    allow_negative_numbers = true,
                    help = concat!($help, " [default: ", $text, "]"),
                    help_heading = $heading,
                    $($($clap)*)?
                )]
                pub $key: Option<$type>,
            )*
        }

        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $(
                #[doc = concat!($help, " Default: ", $text, ".")]
                pub $key: $crate::config::section::section!(@type $type $(= $default)?),
            )*
        }

        impl $name {
            /// The settings of the section, in their order.
            pub const SETTINGS: &'static [$crate::config::setting::Setting] = &[
                $($crate::config::setting::Setting {
                    key: stringify!($key),
                    variable: $variable,
                    default: $text,
                    bounds: $crate::config::section::section!(@bounds $($bounds)?),
                    help: $help,
                    section: $heading,
                },)*
            ];

            /// Each setting and its line in a file; none for a setting that is not given.
            pub(super) fn lines(&self) -> Vec<(&'static $crate::config::setting::Setting, Option<String>)> {
                let lines = [$($crate::config::text::line(stringify!($key), &self.$key),)*];
                Self::SETTINGS.iter().zip(lines).collect()
            }
        }

        impl $given {
            /// Fills the gaps of `self` from `fallback`.
            pub fn or(self, fallback: Self) -> Self {
                Self { $( $key: self.$key.or(fallback.$key), )* }
            }

            /// Checks the bounds and fills the gaps from the defaults.
            ///
            /// # Errors
            /// Names the key, its value and its bounds.
            pub(crate) fn complete(self) -> Result<$name, $crate::config::ConfigError> {
                $($(
                    if let Some(value) = self.$key {
                        $crate::config::setting::Bounds::check($bounds, stringify!($key), value)?;
                    }
                )?)*
                Ok($name { $( $key: $crate::config::section::section!(@complete self.$key $(, $default)?), )* })
            }

            /// Reads the value of `key` if that is a key of this section; tells whether it is.
            pub(super) fn take<'de, A: serde::de::MapAccess<'de>>(
                &mut self,
                key: &str,
                file: &mut A,
            ) -> Result<bool, A::Error> {
                match key {
                    $(stringify!($key) => {
                        let value: $type = file.next_value()?;
                        self.$key = $crate::config::section::section!(@read value $(, $default)?);
                    })*
                    _ => return Ok(false),
                }
                Ok(true)
            }
        }
    };

    (@type $type:ty = $default:expr) => { $type };
    (@type $type:ty) => { Option<$type> };

    (@bounds $bounds:expr) => { $bounds };
    (@bounds) => { $crate::config::setting::Bounds::Any };

    (@complete $given:expr, $default:expr) => { $given.unwrap_or_else(|| $default) };
    (@complete $given:expr) => { $given.filter(|value| !$crate::config::values::Omissible::is_none(value)) };

    (@read $value:expr, $default:expr) => { Some($value) };
    (@read $value:expr) => { Some($value).filter(|value| !$crate::config::values::Omissible::is_none(value)) };
}

pub(super) use section;
