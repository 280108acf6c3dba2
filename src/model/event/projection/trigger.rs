use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::lenient;
use crate::model::wire::code_of;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Trigger<'a> {
    #[serde(rename = "type", deserialize_with = "lenient::text")]
    pub(super) kind: Option<String>,
    #[serde(borrow)]
    signal: Option<&'a RawValue>,
    #[serde(deserialize_with = "lenient::text")]
    code: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    group: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    name: Option<String>,
}

/// The code of the signal, or the word, that set an event off.
pub(super) fn triggered_by(trigger: &RawValue) -> Option<String> {
    if let Some(text) = lenient::text_of(trigger) {
        return Some(dotted(text));
    }
    let Trigger { kind, signal, code, group, name } = lenient::object_of(trigger)?;
    let inner = signal.and_then(|signal| {
        lenient::text_of(signal).map(dotted).or_else(|| {
            let Trigger { code, group, name, .. } = lenient::object_of(signal)?;
            code.or_else(|| code_of(group.as_deref(), name.as_deref()))
        })
    });
    inner.or(code).or_else(|| code_of(group.as_deref(), name.as_deref())).or(kind)
}

/// `Group.Name` as a code; any other text is one already.
fn dotted(text: String) -> String {
    let (group, name) = text.split_once('.').unzip();
    code_of(group, name).unwrap_or(text)
}

pub(super) fn distinct(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut list = Vec::new();
    for text in texts {
        if !list.contains(&text) {
            list.push(text);
        }
    }
    list
}
