//! Descriptors: what they tell, who closes them, and when.

use crate::{MS, counting, drain, loop_on, on_every_backend, pair};
use duolu::{BackendKind, Context, Exit, Interest, Next, Options, Ready, Rearm};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

#[test]
fn data_arrives_through_the_loops_own_data() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, Vec::new());
        let (near, mut far) = pair();
        event_loop.register(near, Interest::READ, counting).expect("registered");
        far.write_all(b"one").expect("written");
        event_loop.run_once().expect("a turn");
        far.write_all(b"two").expect("written");
        event_loop.run_once().expect("a turn");
        assert_eq!(event_loop.into_data(), b"onetwo");
    });
}

#[test]
fn the_loop_ends_when_nothing_is_pending() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, 0);
        assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
        event_loop.after(MS, |ctx| *ctx.data() += 1);
        event_loop.user_event(|_, _| Next::Keep);
        assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
        assert_eq!(*event_loop.data(), 1);
    });
}

#[test]
fn a_removed_source_is_closed_and_its_peer_sees_the_end() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, ());
        let (near, mut far) = pair();
        event_loop.register(near, Interest::READ, |_, _: &UnixStream, _| Next::Remove).expect("registered");
        far.write_all(b"x").expect("written");
        assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
        // io_uring lets go of the file with its next call at the latest.
        event_loop.run_nonblocking().expect("a turn");
        // The byte was left unread, so the end may be told as a reset.
        far.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
        let end = far.read(&mut [0; 8]);
        assert!(matches!(&end, Ok(0)) || end.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset));
    });
}

#[test]
fn dropping_the_loop_closes_everything_at_once() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, Vec::new());
        let (near, mut far) = pair();
        event_loop.register(near, Interest::READ, counting).expect("registered");
        event_loop.run_nonblocking().expect("a turn");
        drop(event_loop);
        far.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
        assert_eq!(far.read(&mut [0; 8]).expect("the end"), 0);
    });
}

#[test]
fn two_events_on_one_shared_descriptor() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, (0, 0));
        let (near, mut far) = pair();
        let near = Rc::new(near);
        far.write_all(b"x").expect("written");
        event_loop
            .register(Rc::clone(&near), Interest::READ, |ctx, stream: &Rc<UnixStream>, ready| {
                assert!(ready.contains(Ready::READ) && !ready.contains(Ready::WRITE));
                drain(stream);
                ctx.data().0 += 1;
                Next::Keep
            })
            .expect("registered");
        event_loop
            .register(near, Interest::WRITE, |ctx, _: &Rc<UnixStream>, ready| {
                assert!(ready.contains(Ready::WRITE) && !ready.contains(Ready::READ));
                ctx.data().1 += 1;
                Next::Remove
            })
            .expect("registered");
        for _ in 0..3 {
            event_loop.run_for(MS).expect("a turn");
        }
        assert_eq!(*event_loop.data(), (1, 1));
        far.write_all(b"y").expect("written");
        event_loop.run_once().expect("a turn");
        assert_eq!(*event_loop.data(), (2, 1), "reading goes on after writing is removed");
    });
}

#[test]
fn mixed_triggers_on_one_descriptor_are_refused_with_advice() {
    let mut event_loop = loop_on(BackendKind::Epoll, ());
    let (near, _far) = pair();
    let near = Rc::new(near);
    let keep = |_: &mut Context<()>, _: &Rc<UnixStream>, _: Ready| Next::Keep;
    event_loop.register(Rc::clone(&near), Options::new(Interest::READ).edge(), keep).expect("registered");
    let error = event_loop.register(near, Interest::WRITE, keep).expect_err("mixed");
    assert!(error.to_string().contains("dup(2)"), "{error}");
}

#[test]
fn one_shot_is_silent_until_rearmed() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, 0);
        let (near, mut far) = pair();
        far.write_all(b"x").expect("written");
        let id = event_loop
            .register(near, Options::new(Interest::READ).one_shot(), |ctx, _: &UnixStream, _| {
                *ctx.data() += 1;
                if *ctx.data() == 2 { Next::again() } else { Next::Keep }
            })
            .expect("registered");
        for _ in 0..3 {
            event_loop.run_for(MS).expect("a turn");
        }
        assert_eq!(*event_loop.data(), 1);
        assert!(!event_loop.is_pending(id));
        event_loop.enable(id).expect("enabled");
        for _ in 0..4 {
            event_loop.run_for(MS).expect("a turn");
        }
        assert_eq!(*event_loop.data(), 3, "enabled once, re-armed by itself once");
    });
}

#[test]
fn a_once_event_can_be_rearmed_for_something_else() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, Vec::new());
        let (near, mut far) = pair();
        far.write_all(b"x").expect("written");
        event_loop
            .register(near, Options::new(Interest::READ).once(), |ctx, stream: &UnixStream, ready| {
                ctx.data().push(ready);
                drain(stream);
                match ctx.data().len() {
                    1 => Next::interest(Interest::WRITE),
                    2 => Next::Rearm(Rearm::again().interest(Interest::READ).after(MS)),
                    _ => Next::Remove,
                }
            })
            .expect("registered");
        assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
        assert_eq!(*event_loop.data(), [Ready::READ, Ready::WRITE, Ready::TIMEOUT]);
    });
}

#[test]
fn a_listener_accepts_all_that_wait_and_can_remove_itself() {
    use std::net::{TcpListener, TcpStream};
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, Vec::new());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let clients: Vec<_> = (0..5).map(|_| TcpStream::connect(address).expect("connected")).collect();
        event_loop
            .accept(listener, |ctx: &mut Context<Vec<u16>>, stream, peer| {
                assert_eq!(stream.peer_addr().expect("connected"), peer);
                let flags = std::fs::read_to_string(format!(
                    "/proc/self/fdinfo/{}",
                    std::os::fd::AsRawFd::as_raw_fd(&stream)
                ));
                assert!(flags.expect("open").contains("flags:\t02004002"), "non-blocking, close on exec");
                ctx.data().push(peer.port());
                if ctx.data().len() == 5 {
                    let me = ctx.current().expect("running");
                    ctx.remove(me);
                }
            })
            .expect("listening");
        assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
        let ports: Vec<_> = clients.iter().map(|client| client.local_addr().expect("bound").port()).collect();
        assert_eq!(*event_loop.data(), ports);
        assert_eq!(event_loop.stats().accepted, 5);
        event_loop.run_nonblocking().expect("a turn"); // io_uring lets go of the listener here at the latest
        assert!(TcpStream::connect(address).is_err(), "the listener is closed");
    });
}
