//! Enums that have one name each in flags, configuration files and on the wire.

/// Implements `Display` and `FromStr` for an enum with `ALL` and `name`; `$what` says what it is in error messages.
#[doc(hidden)]
#[macro_export]
macro_rules! named {
    ($type:ty, $what:literal) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let unknown =
                    || format!("unknown {} `{text}`: use one of {}", $what, Self::ALL.map(Self::name).join(", "));
                Self::ALL.into_iter().find(|known| known.name() == text).ok_or_else(unknown)
            }
        }
    };
}
