use super::*;
use crate::process::Ended;
use crate::socket::{dup, eventfd, pipe, read, write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

#[test]
fn select_answers_in_the_sets_it_was_given() {
    let (quiet, _keep) = pipe().unwrap();
    let (reader, writer) = pipe().unwrap();
    write(&writer, b"x").unwrap();
    let (quiet, reader, writer) = (quiet.as_raw_fd(), reader.as_raw_fd(), writer.as_raw_fd());
    let nfds = 1 + quiet.max(reader).max(writer) as usize;
    let (mut readable, mut writable) = (FdSet::of([quiet, reader]), FdSet::of([writer]));
    let mut timeout = Duration::from_secs(5);
    let bits = select(nfds, Some(&mut readable), Some(&mut writable), None, Some(&mut timeout)).unwrap();
    assert_eq!((bits, readable.len(), writable.len()), (2, 1, 1));
    assert!(readable.contains(reader) && !readable.contains(quiet) && writable.contains(writer));
    assert!(timeout > Duration::ZERO && timeout <= Duration::from_secs(5));
}

#[test]
fn select_leaves_the_sets_alone_when_it_fails() {
    // A number that nobody takes soon; closed again it stays inside the process's table of descriptors, beyond which
    // the kernel would not look.
    let closed = dup(eventfd().unwrap(), 700).unwrap().as_raw_fd();
    let mut set = FdSet::of([closed, 0]);
    let before = set.clone();
    let outcome = select(closed as usize + 1, Some(&mut set), None, None, Some(&mut { Duration::ZERO }));
    assert_eq!((outcome.unwrap_err().raw_os_error(), set), (Some(libc::EBADF), before));
    assert!(FdSet::of([-1]).is_empty());
}

#[test]
fn select_takes_numbers_past_1023() {
    let event = eventfd().unwrap();
    crate::waker::write_one(event.as_fd());
    let high = dup(&event, 1500).unwrap();
    let mut set = FdSet::of([high.as_raw_fd()]);
    let nfds = high.as_raw_fd() as usize + 1;
    assert!(set.room() > FD_SETSIZE);
    assert_eq!(select(nfds, Some(&mut set), None, None, Some(&mut { Duration::ZERO })).unwrap(), 1);
    assert!(set.contains(high.as_raw_fd()));
    set.remove(high.as_raw_fd());
    assert!(set.is_empty());
}

#[test]
fn the_fortified_check_ends_the_child_at_1024_only() {
    let Some(allowed) = fd_set_fortified(1023).unwrap() else { return };
    assert_eq!(allowed, Fortified { ended: Ended::Code(0), said: String::new() });
    let refused = fd_set_fortified(1024).unwrap().unwrap();
    assert_eq!(refused.ended, Ended::Signal(libc::SIGABRT));
    assert!(refused.said.contains("terminated"), "{refused:?}");
}

#[test]
fn epoll_gives_back_whatever_data_it_was_given() {
    let (one, other) = (eventfd().unwrap(), eventfd().unwrap());
    crate::waker::write_one(one.as_fd());
    let epoll = Epoll::of_size(1).unwrap();
    epoll.control(Op::Add, one.as_raw_fd(), flags::EPOLLIN, 0xdead_beef_0000_0001).unwrap();
    epoll.add(&other, flags::EPOLLIN).unwrap();
    let mut events = [event { events: 0, u64: 0 }; 4];
    assert_eq!(epoll.wait(&mut events, 0).unwrap(), 1);
    assert_eq!({ events[0].u64 }, 0xdead_beef_0000_0001);
    assert_eq!(epoll.wait(&mut [], 0).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    assert_eq!(Epoll::of_size(0).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    let mut entry = [pollfd { fd: epoll.as_fd().as_raw_fd(), events: flags::POLLIN, revents: 0 }];
    assert_eq!((poll(&mut entry, 0).unwrap(), entry[0].revents), (1, flags::POLLIN));
}

#[test]
fn a_file_opened_again_has_flags_of_its_own() {
    let (reader, _writer) = std::io::pipe().unwrap();
    assert_eq!(fcntl(&reader, Fcntl::GetFileFlags).unwrap() & flags::O_NONBLOCK, 0);
    let again = open_again(&reader, flags::O_NONBLOCK).unwrap();
    assert_eq!(read(&again, &mut [0; 8]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(fcntl(&reader, Fcntl::GetFileFlags).unwrap() & flags::O_NONBLOCK, 0);
    assert_eq!(fcntl(&again, Fcntl::GetDescriptorFlags).unwrap(), flags::FD_CLOEXEC);
}

#[test]
fn calls_have_names() {
    assert_eq!(name_of(libc::SYS_read), Some("read"));
    assert_eq!(name_of(-1), None);
}
