//! What a process can set only once: one test, in the order a program would do it. The rest is in crates/conform.

use super::*;
use crate::lock;

unsafe extern "C" fn other_id() -> c_ulong {
    7
}

#[test]
fn functions_are_set_once_and_used() {
    assert!(!lock::enabled() && lock::new(true).is_null());
    let incomplete = evthread_lock_callbacks { unlock: None, ..pthreads::LOCK_CALLBACKS };
    // SAFETY: structs of this frame.
    assert_eq!(unsafe { evthread_set_lock_callbacks(&incomplete) }, -1);
    assert!(!lock::enabled());

    evthread_enable_lock_debuging();
    assert_eq!(evthread_use_pthreads(), 0);
    assert_eq!(evthread_use_pthreads(), 0, "the same again is no change");
    let others = evthread_lock_callbacks { lock_api_version: 2, ..pthreads::LOCK_CALLBACKS };
    // SAFETY: as above.
    assert_eq!(unsafe { evthread_set_lock_callbacks(&others) }, -1);
    assert!(lock::enabled() && debug::is_on());

    let (one, condition) = (lock::new(true), lock::cond_new());
    // SAFETY: made here, and freed at the end.
    unsafe {
        {
            let _twice = (lock::Guard::of(one), lock::Guard::of(one));
            assert!(lock::is_held(one) && lock::attempt(one));
            let one = one.addr();
            let stranger = std::thread::spawn(move || {
                let one = core::ptr::with_exposed_provenance_mut(one);
                (lock::attempt(one), lock::is_held(one))
            });
            assert_eq!(stranger.join().unwrap(), (false, false));
        }
        lock::release(one);
        assert!(!lock::is_held(one));
        lock::acquire(one);
        assert_eq!(lock::cond_wait(condition, one, Some(&timeval { tv_sec: 0, tv_usec: 1000 })), 1);
        lock::cond_signal(condition, true);
        assert!(lock::is_held(one));
        lock::release(one);
        lock::cond_free(condition);
        lock::free(one, true);
    }
    assert_ne!(lock::thread_id(), 1);
    evthread_set_id_callback(Some(other_id));
    assert_eq!(lock::thread_id(), 7);
    evthread_set_id_callback(None);
    assert_eq!(lock::thread_id(), 1);
}
