//! Rows of which there are many, written without the names of their fields. Those with names, as they were written
//! before, are read too.

/// Writes a struct as a list of its fields, and reads it from that or from a map. It gets no more fields: another list
/// would have to be told from this one.
macro_rules! unnamed {
    ($name:ident { $($field:ident: $kind:ty),+ $(,)? }) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                ($(&self.$field,)+).serialize(serializer)
            }
        }

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

                    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, list: A) -> Result<Fields, A::Error> {
                        Fields::deserialize(serde::de::value::SeqAccessDeserializer::new(list))
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Fields, A::Error> {
                        Fields::deserialize(serde::de::value::MapAccessDeserializer::new(map))
                    }
                }

                let Fields { $($field),+ } = deserializer.deserialize_any(Either)?;
                Ok($name { $($field),+ })
            }
        }
    };
}

pub(super) use unnamed;
