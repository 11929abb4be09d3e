//! Reaching a loop from other threads.

use crate::context::Context;
use duolu_sys::sync::{Arc, Mutex};
use duolu_sys::waker::Waker;
use std::fmt;

pub(crate) type Post<D> = Box<dyn FnOnce(&mut Context<D>) + Send>;

/// Shared between a loop and its handles.
pub(crate) struct Shared<D> {
    /// `None` once the loop is gone.
    posts: Mutex<Option<Vec<Post<D>>>>,
    pub(crate) waker: Waker,
}

impl<D> Shared<D> {
    pub(crate) fn new(waker: Waker) -> Arc<Self> {
        Arc::new(Shared { posts: Mutex::new(Some(Vec::new())), waker })
    }

    fn lock(&self) -> duolu_sys::sync::MutexGuard<'_, Option<Vec<Post<D>>>> {
        // Nothing that can panic runs under the lock, so a poisoned one is as good as new.
        self.posts.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What has been posted so far, in order; `spare` becomes the next queue.
    pub(crate) fn take(&self, spare: Vec<Post<D>>) -> Vec<Post<D>> {
        match &mut *self.lock() {
            Some(posts) => std::mem::replace(posts, spare),
            None => Vec::new(),
        }
    }

    /// What was taken and not run comes first again, at the next turn.
    pub(crate) fn put_back(&self, mut left: Vec<Post<D>>) {
        if let Some(posts) = &mut *self.lock() {
            left.append(posts);
            *posts = left;
            self.waker.wake();
        }
    }

    pub(crate) fn has_posts(&self) -> bool {
        self.lock().as_ref().is_some_and(|posts| !posts.is_empty())
    }

    /// The loop is gone: what is still queued is dropped, outside the lock, as closures may post from `drop`.
    pub(crate) fn close(&self) {
        let left = self.lock().take();
        drop(left);
    }
}

/// A way into a loop from any thread: cloneable, sendable. Does not keep the loop running or alive.
pub struct Handle<D = ()> {
    pub(crate) shared: Arc<Shared<D>>,
}

impl<D> Clone for Handle<D> {
    fn clone(&self) -> Self {
        Handle { shared: Arc::clone(&self.shared) }
    }
}

impl<D> fmt::Debug for Handle<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

/// The loop that was to be reached no longer exists; what was posted has been dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event loop no longer exists")
    }
}

impl std::error::Error for Closed {}

impl<D: 'static> Handle<D> {
    /// Has `callback` run on the loop's thread, in the order of posting. Costs an allocation and, when the
    /// loop has not been woken yet, one write(2).
    pub fn post(&self, callback: impl FnOnce(&mut Context<D>) + Send + 'static) -> Result<(), Closed> {
        let callback: Post<D> = Box::new(callback);
        match &mut *self.shared.lock() {
            Some(posts) => posts.push(callback),
            None => return Err(Closed),
        }
        self.shared.waker.wake();
        Ok(())
    }

    /// Makes the loop's present wait end.
    pub fn wake(&self) {
        self.shared.waker.wake();
    }

    /// Stops the loop after the callbacks that are due.
    pub fn stop(&self) -> Result<(), Closed> {
        self.post(|ctx| ctx.stop())
    }
}

impl<D: 'static> Context<D> {
    /// Runs what other threads have posted so far; what they post meanwhile wakes the next turn.
    pub(crate) fn run_posts(&mut self) {
        let home = self.handle();
        let mut left = self.shared.take(std::mem::take(&mut self.spare_posts));
        left.reverse();
        let mut running = RunningPosts { home, left };
        while let Some(post) = running.left.pop() {
            self.stats.posts += 1;
            post(self);
        }
        self.spare_posts = std::mem::take(&mut running.left);
    }
}

/// While posts run. Should one panic, those after it are run in the next turn.
struct RunningPosts<D: 'static> {
    home: Handle<D>,
    /// The next one last.
    left: Vec<Post<D>>,
}

impl<D: 'static> Drop for RunningPosts<D> {
    fn drop(&mut self) {
        if !self.left.is_empty() {
            self.left.reverse();
            self.home.shared.put_back(std::mem::take(&mut self.left));
        }
    }
}
