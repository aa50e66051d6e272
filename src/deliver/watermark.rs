//! How far everything is safe.

use std::collections::VecDeque;

/// The pages of one feed range on their way to one sink, oldest first.
///
/// A page is passed when it and all before it are settled; only then may its position be stored.
#[derive(Debug)]
pub struct Watermark<P> {
    pages: VecDeque<Entry<P>>,
    next: u64,
}

#[derive(Debug)]
struct Entry<P> {
    outstanding: usize,
    page: P,
}

impl<P> Default for Watermark<P> {
    fn default() -> Self {
        Self { pages: VecDeque::new(), next: 0 }
    }
}

impl<P> Watermark<P> {
    /// Adds a page with `outstanding` changes to settle; returns its number.
    pub fn open(&mut self, outstanding: usize, page: P) -> u64 {
        self.pages.push_back(Entry { outstanding, page });
        self.next += 1;
        self.next - 1
    }

    /// One change of a page is durable, or a dead letter.
    pub fn settle(&mut self, page: u64) {
        let oldest = self.next - self.pages.len() as u64;
        let entry =
            page.checked_sub(oldest).and_then(|i| self.pages.get_mut(usize::try_from(i).ok()?));
        debug_assert!(entry.is_some(), "page {page} was passed before it was settled");
        if let Some(entry) = entry {
            entry.outstanding -= 1;
        }
    }

    /// The next page that is passed, oldest first.
    pub fn pass(&mut self) -> Option<P> {
        if self.pages.front()?.outstanding > 0 {
            return None;
        }
        self.pages.pop_front().map(|entry| entry.page)
    }

    /// A page that is not passed, by its number.
    pub fn page_mut(&mut self, page: u64) -> Option<&mut P> {
        let oldest = self.next - self.pages.len() as u64;
        let at = usize::try_from(page.checked_sub(oldest)?).ok()?;
        self.pages.get_mut(at).map(|entry| &mut entry.page)
    }

    /// Those that are not passed, from the oldest on.
    pub fn pages(&self) -> impl Iterator<Item = &P> {
        self.pages.iter().map(|entry| &entry.page)
    }

    /// The newest page that is not passed.
    pub fn newest_mut(&mut self) -> Option<&mut P> {
        self.pages.back_mut().map(|entry| &mut entry.page)
    }

    /// The oldest page that is not passed.
    pub fn oldest(&self) -> Option<&P> {
        self.pages.front().map(|entry| &entry.page)
    }

    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Watermark;

    #[test]
    fn a_later_page_waits_for_an_earlier_one() {
        let mut watermark = Watermark::default();
        let a = watermark.open(2, 'a');
        let b = watermark.open(1, 'b');
        watermark.open(0, 'c');
        watermark.settle(b);
        watermark.settle(a);
        assert_eq!(watermark.pass(), None);
        assert_eq!(watermark.oldest(), Some(&'a'));
        watermark.settle(a);
        let passed: String = std::iter::from_fn(|| watermark.pass()).collect();
        assert_eq!(passed, "abc");
        assert!(watermark.is_empty());
    }
}
