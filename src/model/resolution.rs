//! How Smartcar says that an error is mended.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::lenient;

/// What is to be done about an error, as Smartcar puts it: in an event and in an answer alike. It is
/// `{"type", "url"}` or the bare word; whatever else stands there is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// The word, such as `RECONNECT`.
    pub kind: Option<String>,
    /// Where it is done, as it was said: not yet proven to be an address of the web.
    pub url: Option<String>,
}

impl<'de> Deserialize<'de> for Resolution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Resolution, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Whole {
            #[serde(rename = "type", deserialize_with = "lenient::text")]
            kind: Option<String>,
            #[serde(deserialize_with = "lenient::text")]
            url: Option<String>,
        }
        let value = <&RawValue>::deserialize(deserializer)?;
        Ok(match lenient::object_of::<Whole>(value) {
            Some(Whole { kind, url }) => Resolution { kind, url },
            None => Resolution { kind: lenient::text_of(value), url: None },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_none_is_an_error() {
        let read = |text: &str| {
            let Resolution { kind, url } = serde_json::from_str(text).unwrap();
            (kind.unwrap_or_default(), url.unwrap_or_default())
        };
        let pair = |kind: &str, url: &str| (kind.to_owned(), url.to_owned());
        assert_eq!(read(r#"{"type":"RECONNECT","url":"https://a.example"}"#), pair("RECONNECT", "https://a.example"));
        assert_eq!(read(r#"{"type":"RECONNECT","url":null}"#), pair("RECONNECT", ""));
        assert_eq!(read(r#""RECONNECT""#), pair("RECONNECT", ""));
        for strange in ["null", "7", "[]", "{}", r#"{"type":{},"url":[]}"#] {
            assert_eq!(read(strange).1, "", "{strange}");
        }
    }
}
