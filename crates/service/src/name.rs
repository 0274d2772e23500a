//! Closed sets of names, as they are stored and shown.

/// Makes an enum whose values have one name each, to be stored, and read back.
macro_rules! closed_names {
    ($(#[$documentation:meta])* $name:ident { $($(#[$value_documentation:meta])* $value:ident = $text:literal),+ $(,)? }) => {
        $(#[$documentation])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$value_documentation])* $value,)+
        }

        impl $name {
            /// The name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }

            /// The value of a name, if it is one.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$value),)+
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use closed_names;
