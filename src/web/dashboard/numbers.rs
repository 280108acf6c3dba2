//! Numbers as the viewer writes them. The words around them stay English, and the digits Latin.

use icu_decimal::input::Decimal;
use icu_decimal::options::DecimalFormatterOptions;
use icu_decimal::preferences::NumberingSystem;
use icu_decimal::{DecimalFormatter, DecimalFormatterPreferences};
use icu_locale_core::Locale;
use icu_locale_core::extensions::unicode::value;

use super::format::THIN;

/// The viewer's language, as far as numbers go. By default English.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Language(DecimalFormatterPreferences);

impl Language {
    /// The one that is liked best of an `Accept-Language` header (RFC 9110, section 12.5.4).
    pub(crate) fn of(accepted: &str) -> Language {
        let mut ranges: Vec<(f32, &str)> = accepted
            .split(',')
            .take(MOST)
            .filter_map(|range| {
                let (tag, weight) = range.split_once(';').unwrap_or((range, "q=1"));
                Some((weight.trim().strip_prefix("q=")?.parse().ok()?, tag.trim()))
            })
            .collect();
        ranges.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let mut known =
            ranges.into_iter().filter(|(weight, _)| *weight > 0.0).filter_map(|(_, tag)| Locale::try_from_str(tag).ok());
        known.next().map_or_else(Language::default, Language::in_latin)
    }

    fn in_latin(locale: Locale) -> Language {
        let mut preferences = DecimalFormatterPreferences::from(&locale);
        preferences.numbering_system = NumberingSystem::try_from(value!("latn")).ok();
        Language(preferences)
    }
}

impl Default for Language {
    fn default() -> Language {
        Language::in_latin(icu_locale_core::locale!("en"))
    }
}

/// So many languages are looked at: nobody speaks more.
const MOST: usize = 16;

/// Writes numbers in one language.
#[derive(Debug)]
pub(super) struct Numbers(Option<DecimalFormatter>);

impl Numbers {
    /// In this language.
    pub(super) fn of(language: Language) -> Numbers {
        Numbers(DecimalFormatter::try_new(language.0, DecimalFormatterOptions::default()).ok())
    }

    /// `18342.6` as `18,343` or `18.343`.
    pub(super) fn number(&self, value: f64, decimals: usize) -> String {
        let text = format!("{value:.decimals$}");
        // Rounded to nothing it is neither above nor below.
        let is_nothing = !text.contains(|digit: char| digit.is_ascii_digit() && digit != '0');
        self.written(text.trim_start_matches(|sign| is_nothing && sign == '-'))
    }

    /// A number with its unit.
    pub(super) fn amount(&self, value: f64, decimals: usize, unit: &str) -> String {
        format!("{}{THIN}{unit}", self.number(value, decimals))
    }

    /// A whole number.
    pub(super) fn count(&self, value: u64) -> String {
        self.written(&value.to_string())
    }

    /// A size such as `1.2 kB`.
    pub(super) fn size(&self, bytes: u64) -> String {
        let tenth = |unit: u64, name: &str| {
            let text = format!("{}.{}", bytes / unit, bytes % unit * 10 / unit);
            format!("{}{THIN}{name}", self.written(&text))
        };
        match bytes {
            0..1_000 => format!("{bytes}{THIN}B"),
            1_000..1_000_000 => tenth(1_000, "kB"),
            1_000_000..1_000_000_000 => tenth(1_000_000, "MB"),
            _ => tenth(1_000_000_000, "GB"),
        }
    }

    fn written(&self, text: &str) -> String {
        match (&self.0, text.parse::<Decimal>()) {
            (Some(formatter), Ok(number)) => formatter.format(&number).to_string(),
            _ => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_rounded() {
        let english = Numbers::of(Language::default());
        let cases = [
            (0.0, 0, "0"),
            (999.4, 0, "999"),
            (18_342.6, 0, "18,343"),
            (1_234_567.0, 0, "1,234,567"),
            (2.449, 1, "2.4"),
            (-7.5, 1, "-7.5"),
            (-0.04, 1, "0.0"),
            (f64::NAN, 1, "NaN"),
            (f64::INFINITY, 0, "inf"),
        ];
        for (value, decimals, expected) in cases {
            assert_eq!(english.number(value, decimals), expected);
        }
        assert_eq!(english.count(10_000), "10,000");
        for (bytes, expected) in [(999, "999 B"), (1_250, "1.2 kB"), (67_108_864, "67.1 MB"), (2_345_678_000_000, "2,345.6 GB")] {
            assert_eq!(english.size(bytes).replace(THIN, " "), expected);
        }
    }

    #[test]
    fn each_language_has_its_own_marks() {
        let cases = [
            ("de", "1.234.567,5"),
            ("de-CH", "1'234'567.5"),
            ("fr-FR,fr;q=0.9,en;q=0.8", "1\u{202f}234\u{202f}567,5"),
            ("en-IN", "12,34,567.5"),
            ("en;q=0.3, nl;q=0.9", "1.234.567,5"),
            ("ar-EG", "1,234,567.5"),
            ("*", "1,234,567.5"),
            ("tlh, de;q=0", "1,234,567.5"),
            ("", "1,234,567.5"),
            ("no language; at all, ???", "1,234,567.5"),
            ("de;q=x, it", "1.234.567,5"),
        ];
        for (accepted, expected) in cases {
            assert_eq!(Numbers::of(Language::of(accepted)).number(1_234_567.5, 1), expected, "{accepted}");
        }
    }
}
