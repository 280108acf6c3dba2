//! Rows of which there are many, written without the names of their fields. Those with names, as they were written
//! before, are read too.

/// Writes a struct as a list of its fields, and reads it from that or from a map.
macro_rules! unnamed {
    ($name:ident { $($field:ident: $kind:ty),+ $(,)? }) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serde::Serialize::serialize(&($(&self.$field,)+), serializer)
            }
        }

        $crate::model::unnamed::read_unnamed!($name { $($field: $kind),+ });
    };
}

/// Reads a struct from a list that begins with its fields, or from a map that has them: of what was written, the rest is
/// passed over.
macro_rules! read_unnamed {
    ($name:ident { $($field:ident: $kind:ty),+ $(,)? }) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                #[derive(serde::Deserialize)]
                struct Fields {
                    $($field: $kind),+
                }

                struct Either;

                impl<'de> serde::de::Visitor<'de> for Either {
                    type Value = Fields;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(stringify!($name))
                    }

                    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Fields, A::Error> {
                        let fields = serde::Deserialize::deserialize(serde::de::value::SeqAccessDeserializer::new(&mut list))?;
                        while list.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                        Ok(fields)
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Fields, A::Error> {
                        serde::Deserialize::deserialize(serde::de::value::MapAccessDeserializer::new(map))
                    }
                }

                let Fields { $($field),+ } = deserializer.deserialize_any(Either)?;
                Ok($name { $($field),+ })
            }
        }
    };
}

pub(crate) use read_unnamed;
pub(super) use unnamed;
