//! Style sheet, script and icon.

const STYLE: &[u8] = include_bytes!("style.css");
const SCRIPT: &[u8] = include_bytes!("app.js");
const ICON: &[u8] = include_bytes!("icon.svg");

const STYLE_VERSION: u64 = hash(STYLE);
const SCRIPT_VERSION: u64 = hash(SCRIPT);
const ICON_VERSION: u64 = hash(ICON);

/// The content type and the bytes.
pub(super) fn find(name: &str) -> Option<(&'static str, &'static [u8])> {
    match name {
        "style.css" => Some(("text/css; charset=utf-8", STYLE)),
        "app.js" => Some(("text/javascript; charset=utf-8", SCRIPT)),
        "icon.svg" => Some(("image/svg+xml", ICON)),
        _ => None,
    }
}

/// Where the style sheet is.
pub(super) fn style() -> String {
    format!("/assets/style.css?v={STYLE_VERSION:016x}")
}

/// Where the script is.
pub(super) fn script() -> String {
    format!("/assets/app.js?v={SCRIPT_VERSION:016x}")
}

/// Where the icon is.
pub(super) fn icon() -> String {
    format!("/assets/icon.svg?v={ICON_VERSION:016x}")
}

/// FNV-1a: tells versions apart, nothing more.
const fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut place = 0;
    while place < bytes.len() {
        hash = (hash ^ bytes[place] as u64).wrapping_mul(0x0100_0000_01b3);
        place += 1;
    }
    hash
}
