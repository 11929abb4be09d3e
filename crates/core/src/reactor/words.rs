//! Reports that are known before their turn.
//!
//! What a program does in its callbacks are system calls, and each makes the processor forget what it was at: between two of them
//! time goes by with waiting for one load after the other (which report is next, its descriptor's row, its event, its callback).
//! Hence the rows of all reports of a wait are looked up together, where one load does not wait for the other, and a turn
//! finds at once what the face wants to know: its *word*.
//!
//! A word stays true until its turn. Whatever changes an event, a list or a row settles the waiting reports first, and then no word
//! is asked for; only lending does not. So what is to be lent, which can be told by its word's lowest bit, is not known
//! before its turn: should it be reported twice, its row says then that it is not plain any more.

use super::Reactor;
use super::straight::Waiting;
use alloc::vec::Vec;

/// In a word: its event is to be lent. The face sets it. A report without a word looks the same.
const BRIEF: u64 = 1;

/// What [`Reactor::look_up_words`] has found.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// A place for each report; grows as needed.
    list: Vec<u64>,
    /// So many of them are of the present reports.
    known: usize,
}

impl Words {
    /// Others will come.
    #[inline(always)]
    pub(super) fn forget(&mut self) {
        self.known = 0;
    }

    #[cold]
    fn grow(&mut self, places: usize) -> bool {
        let room = self.list.try_reserve(places - self.list.len()).is_ok();
        if room {
            self.list.resize(places, BRIEF);
        }
        room
    }

    fn present(&self) -> &[u64] {
        self.list.get(..self.known).unwrap_or(&[])
    }
}

impl Reactor {
    /// Looks up what the reports that have just come are about. (Without memory each row is asked in its turn.)
    #[inline(always)]
    pub(super) fn look_up_words(&mut self) {
        let Waiting { reports, words, next: 0, .. } = &mut self.waiting else { return };
        // Where the first is not known few of them are.
        let first = reports.first().and_then(|first| self.watches.plain_word(first));
        if first.is_some_and(is_known) && (reports.len() <= words.list.len() || words.grow(reports.len())) {
            self.watches.look_up_words(reports, &mut words.list, BRIEF);
            words.known = reports.len();
        }
    }

    /// The words of the waiting reports, and which report is the first of them.
    #[inline(always)]
    pub(crate) fn known_words(&self) -> (usize, &[u64]) {
        let next = self.waiting.next;
        (next, self.waiting.words.present().get(next..).unwrap_or(&[]))
    }

    /// The reports before `next` have been handed out.
    #[inline(always)]
    pub(crate) fn handed_out(&mut self, next: usize) {
        debug_assert!(self.waiting.next + 1 == next && next <= self.waiting.reports.len());
        self.waiting.next = next;
    }

    /// Whether `next` is still the next report.
    #[inline(always)]
    pub(crate) fn is_next(&self, next: usize) -> bool {
        self.waiting.next == next
    }

    /// The word of the next waiting report, where its descriptor's row promises one now.
    #[inline(always)]
    pub(crate) fn next_word(&mut self) -> Option<u64> {
        let word = self.watches.plain_word(self.waiting.reports.get(self.waiting.next)?)?;
        self.waiting.next += 1;
        Some(word)
    }

    /// Panics where a word is not what it would be now.
    pub(super) fn verify_words(&self) {
        let words = self.waiting.words.present();
        let waiting = self.waiting.reports.iter().zip(words).skip(self.waiting.next);
        for (report, word) in waiting.filter(|(_, word)| is_known(**word)) {
            assert_eq!(self.watches.plain_word(report), Some(*word), "{report:?}");
        }
    }
}

#[inline(always)]
fn is_known(word: u64) -> bool {
    word & BRIEF == 0
}
