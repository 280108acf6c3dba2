//! Maps in which no key stands twice, read in one pass.
//!
//! Derived code sees a key that stands twice only where it knows the key: of two readings of the same bytes, one
//! would take what the other refuses.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// What is read of a map; the default if it is anything else.
pub(super) struct Distinct<T>(pub(super) T);

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Distinct<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Distinct<T>, D::Error> {
        deserializer.deserialize_any(DistinctVisitor(PhantomData))
    }
}

/// For a field: see [`Distinct`].
pub(super) fn distinct<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Distinct::deserialize(deserializer).map(|Distinct(read)| read)
}

struct DistinctVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for DistinctVisitor<T> {
    type Value = Distinct<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Distinct<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(DistinctKeys { map, seen: BTreeSet::new() })).map(Distinct)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Distinct<T>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Distinct(T::default()))
    }

    fn visit_unit<E>(self) -> Result<Distinct<T>, E> {
        Ok(Distinct(T::default()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Distinct<T>, E> {
        Ok(Distinct(T::default()))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Distinct<T>, E> {
        Ok(Distinct(T::default()))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Distinct<T>, E> {
        Ok(Distinct(T::default()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Distinct<T>, E> {
        Ok(Distinct(T::default()))
    }

    fn visit_str<E>(self, _: &str) -> Result<Distinct<T>, E> {
        Ok(Distinct(T::default()))
    }
}

/// A map that fails where a key stands for the second time.
struct DistinctKeys<'de, A> {
    map: A,
    seen: BTreeSet<Cow<'de, str>>,
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de, A: MapAccess<'de>> MapAccess<'de> for DistinctKeys<'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some(Key(key)) = self.map.next_key()? else { return Ok(None) };
        if !self.seen.insert(key.clone()) {
            return Err(A::Error::custom("a key stands twice"));
        }
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}
