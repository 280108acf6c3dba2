//! What a misspelt word was probably meant to be.

/// The one of `known` that `word` is nearest to, if it is near at all. Capitals do not count.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let scored = known.into_iter().map(|name| (wrong_letters(&word, &name.to_lowercase()), name));
    scored.min().filter(|(letters, _)| *letters <= MOST_WRONG).map(|(_, name)| name)
}

/// What to say after a word that is none of `known`: ` (TESLA, perhaps?)`; nothing if it is near to none of them.
pub fn perhaps<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |meant| format!(" ({meant}, perhaps?)"))
}

/// How many letters of a word are wrong. Of one that is far too long nobody counts them.
pub fn wrong_letters(word: &str, name: &str) -> usize {
    if word.len() > name.len() + LONGER { usize::MAX } else { strsim::levenshtein(word, name) }
}

/// How many letters of a misspelt word may be wrong.
const MOST_WRONG: usize = 2;

/// How much longer than a name a word may be to be like it.
const LONGER: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_letters_may_be_wrong() {
        let known = ["FORD", "TESLA"];
        assert_eq!(nearest("tessla", known), Some("TESLA"));
        assert_eq!(nearest("AUDI", known), None);
        assert_eq!(nearest(&"x".repeat(8000), known), None);
        assert_eq!((&*perhaps("tessla", known), &*perhaps("AUDI", known)), (" (TESLA, perhaps?)", ""));
    }
}
