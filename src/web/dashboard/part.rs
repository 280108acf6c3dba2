//! Lists that are too long for one page: a page must stay small.

/// Which part of a list; the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its number.
    pub(super) number: usize,
    /// The number of the last.
    pub(super) last: usize,
}

impl Part {
    /// The part of `items` that was asked for (`?page=`), or the nearest that there is.
    pub(crate) fn of(asked: Option<&str>, items: usize) -> Part {
        let last = items.div_ceil(LENGTH).max(1);
        let number = asked.and_then(|asked| asked.parse().ok()).unwrap_or(1).clamp(1, last);
        Part { number, last }
    }

    /// What is on it.
    pub(crate) fn cut<T>(self, items: &[T]) -> &[T] {
        items.chunks(LENGTH).nth(self.number - 1).unwrap_or_default()
    }
}

/// So many cards are about 60 kB.
const LENGTH: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_on_one_part() {
        let items: Vec<usize> = (0..45).collect();
        let part = |asked| Part::of(asked, items.len()).cut(&items);
        assert_eq!((part(None).len(), part(Some("2"))[0], part(Some("3")).len()), (20, 20, 5));
        assert_eq!(part(Some("4711"))[4], 44);
        for asked in ["0", "-1", "x", ""] {
            assert_eq!(part(Some(asked))[0], 0, "{asked}");
        }
        assert_eq!(Part::of(Some("2"), 0), Part { number: 1, last: 1 });
        assert!(Part::of(None, 0).cut(&[0; 0]).is_empty());
    }
}
