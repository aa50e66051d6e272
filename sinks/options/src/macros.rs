//! The definitions: [`options!`](crate::options) for a table, [`variants!`](crate::variants) for a table
//! whose options depend on one of them.

/// Defines the options of a table once: the struct, its reader, its documentation and its schema.
///
/// A field is `name: Type = NEED, KIND;` where NEED is one of
///
/// - `required("hint")`: must be written; `<table>` in the hint stands for the table's path,
/// - `optional`: `None` if not written; the type is an `Option`,
/// - TOML text, `"5ms"`, `16`, `true`, `[]` or `{}`: the default,
/// - `flatten`, without a kind: another `Options` whose options are written in this table.
///
/// KIND is an expression of [`Kind`](crate::Kind). `, example "TOML"` adds an example. A field whose name
/// is no identifier in Rust is written `filter as "where": ..`. The doc comment is the description in
/// the reference page and in the schema.
///
/// `rules(table) { .. }` runs after the fields were read, each a local variable `Option<Type>` that is
/// `None` after a problem, and reports what is wrong between options.
#[macro_export]
macro_rules! options {
    (
        $(#[doc = $doc:literal])*
        $visibility:vis struct $name:ident {
            $(
                $(#[doc = $about:literal])*
                $field:ident $(as $key:literal)? : $type:ty = $need:tt $(($hint:expr))?
                $(, $kind:expr $(, example $example:tt)?)? ;
            )*
        }
        $(rules($table:ident) $rules:block)?
    ) => {
        $(#[doc = $doc])*
        #[allow(unreachable_pub, reason = "the struct may be private")]
        #[allow(clippy::doc_markdown, reason = "the text is for the reference page")]
        #[derive(Clone, Debug, PartialEq)]
        $visibility struct $name {
            $($(#[doc = $about])* pub $field: $type,)*
        }

        #[allow(unused_variables, unused_mut, reason = "there may be no options")]
        impl $crate::Options for $name {
            fn read(table: &$crate::Table<'_>) -> ::std::option::Option<Self> {
                // All before any of them has its name, which a kind may have, too.
                let ($($field,)*): ($(::std::option::Option<$type>,)*) = ($(
                    $crate::__option!(
                        read table, $crate::__key!($field $($key)?), $type, $need $(($hint))? $(, $kind)?
                    ),
                )*);
                $({
                    let $table = table;
                    $rules
                })?
                ::std::option::Option::Some(Self { $($field: $field?,)* })
            }

            #[allow(clippy::vec_init_then_push, reason = "each kind of option adds itself")]
            fn form() -> $crate::TableForm {
                let mut options = ::std::vec::Vec::new();
                $(
                    $crate::__option!(
                        form options, $crate::__key!($field $($key)?), &[$($about),*], [$($($example)?)?],
                        $type, $need $(($hint))? $(, $kind)?
                    );
                )*
                $crate::TableForm {
                    doc: $crate::doc(&[$($doc),*]),
                    options,
                    ..::std::default::Default::default()
                }
            }

            fn differences(&self, other: &Self) -> ::std::vec::Vec<::std::string::String> {
                let mut paths = ::std::vec::Vec::new();
                $(
                    $crate::__option!(
                        differences paths, self.$field, other.$field,
                        $crate::__key!($field $($key)?), $type, $need $(($hint))? $(, $kind)?
                    );
                )*
                paths
            }
        }
    };
}

/// Defines a table whose options depend on one of them, the tag.
///
/// `"word" => Variant(Options)` for each value of the tag. `if_missing` is the hint where the tag is not
/// written.
#[macro_export]
macro_rules! variants {
    (
        $(#[doc = $doc:literal])*
        $visibility:vis enum $name:ident by $tag:literal if_missing($hint:literal) {
            $($(#[doc = $about:literal])* $word:literal => $variant:ident($type:ty),)*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq)]
        $visibility enum $name {
            $($(#[doc = $about])* $variant($type),)*
        }

        impl $crate::Options for $name {
            fn read(table: &$crate::Table<'_>) -> ::std::option::Option<Self> {
                let ::std::option::Option::Some(tag) = table.get($tag) else {
                    table.undecided($tag, $hint);
                    return ::std::option::Option::None;
                };
                let ::std::option::Option::Some(word) = tag.choice(&[$(($word, $word)),*]) else {
                    table.leave_undecided();
                    return ::std::option::Option::None;
                };
                match word {
                    $($word => <$type as $crate::Options>::read(table).map(Self::$variant),)*
                    _ => ::std::option::Option::None,
                }
            }

            fn form() -> $crate::TableForm {
                let words = ::std::vec![$(($word, $word)),*];
                let tag = $crate::OptionForm {
                    name: $tag,
                    doc: $crate::doc(&[$($doc),*]),
                    need: $crate::Need::Required,
                    form: $crate::Kind::form(&$crate::choice(words)),
                    example: ::std::option::Option::None,
                };
                let tables = ::std::vec![
                    $(($word, $crate::TableForm {
                        doc: $crate::doc(&[$($about),*]),
                        ..<$type as $crate::Options>::form()
                    })),*
                ];
                $crate::TableForm {
                    doc: $crate::doc(&[$($doc),*]),
                    options: ::std::vec![tag],
                    variants: ::std::option::Option::Some($crate::Variants { tag: $tag, tables }),
                    constraint: ::std::option::Option::None,
                }
            }

            fn differences(&self, other: &Self) -> ::std::vec::Vec<::std::string::String> {
                match (self, other) {
                    $((Self::$variant(one), Self::$variant(other)) => {
                        $crate::Options::differences(one, other)
                    })*
                    #[allow(unreachable_patterns, reason = "there may be one variant only")]
                    _ => ::std::vec![$tag.to_owned()],
                }
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

/// What [`options!`](crate::options) does with one field.
#[doc(hidden)]
#[macro_export]
macro_rules! __option {
    (read $table:ident, $key:expr, $type:ty, flatten) => {
        <$type as $crate::Options>::read($table)
    };
    (read $table:ident, $key:expr, $type:ty, required($hint:expr), $kind:expr) => {
        $table.required($key, $hint).and_then(|value| {
            $crate::Kind::read(&$crate::typed::<$type, _>($kind), &value)
        })
    };
    (read $table:ident, $key:expr, $type:ty, optional, $kind:expr) => {
        $table.optional($key, &$crate::typed::<$type, _>($crate::Optional($kind)))
    };
    (read $table:ident, $key:expr, $type:ty, $default:tt, $kind:expr) => {
        $table.or_default($key, stringify!($default), &$crate::typed::<$type, _>($kind))
    };

    (form $options:ident, $key:expr, $doc:expr, [], $type:ty, flatten) => {
        $options.extend(<$type as $crate::Options>::form().options);
    };
    (form $options:ident, $key:expr, $doc:expr, [$($example:tt)?], $type:ty, $($rest:tt)*) => {
        $options.push($crate::OptionForm {
            name: $key,
            doc: $crate::doc($doc),
            need: $crate::__option!(need $($rest)*),
            form: $crate::__option!(kind form $type, $($rest)*),
            example: $crate::__option!(example $($example)?),
        });
    };
    (example) => {
        ::std::option::Option::None
    };
    (example $example:tt) => {
        ::std::option::Option::Some(stringify!($example))
    };
    (need required($hint:expr), $kind:expr) => {
        $crate::Need::Required
    };
    (need optional, $kind:expr) => {
        $crate::Need::Optional
    };
    (need $default:tt, $kind:expr) => {
        $crate::Need::Default(stringify!($default))
    };
    (kind form $type:ty, required($hint:expr), $kind:expr) => {
        $crate::Kind::form(&$crate::typed::<$type, _>($kind))
    };
    (kind form $type:ty, optional, $kind:expr) => {
        $crate::Kind::form(&$crate::typed::<$type, _>($crate::Optional($kind)))
    };
    (kind form $type:ty, $default:tt, $kind:expr) => {
        $crate::Kind::form(&$crate::typed::<$type, _>($kind))
    };

    (differences $paths:ident, $one:expr, $other:expr, $key:expr, $type:ty, flatten) => {
        $paths.extend(<$type as $crate::Options>::differences(&$one, &$other));
    };
    (
        differences $paths:ident, $one:expr, $other:expr, $key:expr, $type:ty,
        optional, $kind:expr
    ) => {
        let kind = $crate::typed::<$type, _>($crate::Optional($kind));
        $paths.extend($crate::below($key, $crate::Kind::differences(&kind, &$one, &$other)));
    };
    (
        differences $paths:ident, $one:expr, $other:expr, $key:expr, $type:ty,
        $need:tt $(($hint:expr))?, $kind:expr
    ) => {
        let kind = $crate::typed::<$type, _>($kind);
        $paths.extend($crate::below($key, $crate::Kind::differences(&kind, &$one, &$other)));
    };
}
