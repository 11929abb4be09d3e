//! Hooks around the wait: prepare before it, check after it, idle in turns that had nothing to do.

use crate::context::Context;

/// Names a hook, to remove it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HookId(u64);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum When {
    Prepare,
    Check,
    Idle,
}

type Hook<D> = Box<dyn FnMut(&mut Context<D>)>;

struct Entry<D> {
    id: HookId,
    when: When,
    /// `None` while it runs.
    hook: Option<Hook<D>>,
}

pub(crate) struct Hooks<D> {
    /// In the order they were added, which is the order of their numbers.
    entries: Vec<Entry<D>>,
    next: u64,
}

impl<D> Hooks<D> {
    pub(crate) const fn new() -> Self {
        Hooks { entries: Vec::new(), next: 0 }
    }

    pub(crate) fn has(&self, when: When) -> bool {
        self.entries.iter().any(|entry| entry.when == when)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The first hook of a kind whose number is at least `from` and below `end`.
    fn next_of(&self, when: When, from: u64, end: u64) -> Option<usize> {
        let first = self.entries.partition_point(|entry| entry.id.0 < from);
        let fits = |entry: &Entry<D>| entry.when == when && entry.id.0 < end;
        self.entries[first..].iter().position(fits).map(|offset| first + offset)
    }

    fn position(&self, id: HookId) -> Option<usize> {
        self.entries.iter().position(|entry| entry.id == id)
    }
}

impl<D: 'static> Context<D> {
    /// Runs before every wait.
    pub fn on_prepare(&mut self, hook: impl FnMut(&mut Context<D>) + 'static) -> HookId {
        self.add_hook(When::Prepare, Box::new(hook))
    }
    /// Runs after every wait, before the callbacks.
    pub fn on_check(&mut self, hook: impl FnMut(&mut Context<D>) + 'static) -> HookId {
        self.add_hook(When::Check, Box::new(hook))
    }
    /// Runs in every turn in which no callback was due. While there is one the loop does not sleep and does not
    /// end for want of events.
    pub fn on_idle(&mut self, hook: impl FnMut(&mut Context<D>) + 'static) -> HookId {
        self.add_hook(When::Idle, Box::new(hook))
    }

    fn add_hook(&mut self, when: When, hook: Hook<D>) -> HookId {
        let id = HookId(self.hooks.next);
        self.hooks.next += 1;
        self.hooks.entries.push(Entry { id, when, hook: Some(hook) });
        self.note_extras();
        id
    }

    /// Removes a hook, also from within itself. False where it is gone already.
    pub fn remove_hook(&mut self, id: HookId) -> bool {
        let Some(position) = self.hooks.position(id) else { return false };
        let entry = self.hooks.entries.remove(position);
        self.note_extras();
        drop(entry);
        true
    }

    /// Runs the hooks of one kind, in the order they were added; those added meanwhile wait for the next turn.
    pub(crate) fn run_hooks(&mut self, when: When) {
        let end = self.hooks.next;
        let mut from = 0;
        // Looked up each time: a hook may remove itself and others.
        while let Some(position) = self.hooks.next_of(when, from, end) {
            let entry = &mut self.hooks.entries[position];
            let id = entry.id;
            from = id.0 + 1;
            let Some(mut hook) = entry.hook.take() else { continue };
            let running = RunningHook { context: self, id };
            hook(running.context);
            std::mem::forget(running); // it did not panic
            if let Some(position) = self.hooks.position(id) {
                self.hooks.entries[position].hook = Some(hook);
            }
        }
    }
}

/// A hook that panics is removed. Its empty entry would be a hook that can never run: an idle one would keep the loop
/// turning for ever without a sleep.
struct RunningHook<'a, D: 'static> {
    context: &'a mut Context<D>,
    id: HookId,
}

impl<D: 'static> Drop for RunningHook<'_, D> {
    fn drop(&mut self) {
        self.context.remove_hook(self.id);
    }
}
