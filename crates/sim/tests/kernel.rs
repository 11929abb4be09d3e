//! The simulated kernel and its imitations, tested without a brain.

use duolu_core::{Backend, Change, Interest, Ready, Report, Token, Trigger, Watch};
use duolu_sim::{Delay, Personality, Sim, SimBackend, errno};

fn add(backend: &mut SimBackend, fd: i32, generation: u32, interest: Interest, trigger: Trigger) -> Token {
    let token = Token::new(fd, generation);
    let watch = Watch { interest, trigger, ..Watch::default() };
    backend.apply(Change::Add { token, watch }).expect("accepted");
    token
}

fn look(backend: &mut SimBackend) -> Vec<Report> {
    let mut reports = Vec::new();
    backend.wait(Some(0), &mut reports).expect("a look does not fail");
    reports
}

#[test]
fn numbers_are_the_lowest_free_ones_and_dup_shares_the_file() {
    let sim = Sim::new(1);
    let mut kernel = sim.kernel();
    let (a, b) = kernel.stream_pair().unwrap();
    let c = kernel.dup(a).unwrap();
    assert_eq!((a, b, c), (3, 4, 5));
    kernel.close(a).unwrap();
    assert_eq!(kernel.write(c, b"hi"), Ok(2));
    assert_eq!(kernel.read(b, 9), Ok(b"hi".to_vec()));
    assert_eq!(kernel.counter(), Ok(3));
    assert_eq!(kernel.read(b, 9), Err(errno::EAGAIN), "the dup keeps the stream open");
    kernel.close(c).unwrap();
    assert_eq!(kernel.read(b, 9), Ok(vec![]), "the last descriptor ends it");
    assert_eq!(kernel.write(b, b"x"), Err(errno::EPIPE));
    assert_eq!(kernel.close(99), Err(errno::EBADF));
}

#[test]
fn buffers_are_bounded_and_readiness_follows() {
    let sim = Sim::new(1);
    let mut kernel = sim.kernel();
    kernel.capacity = 4;
    let (read, write) = kernel.pipe().unwrap();
    assert_eq!(kernel.readiness(write), Ready::WRITE);
    assert_eq!(kernel.write(write, b"123456"), Ok(4));
    assert_eq!(kernel.write(write, b"5"), Err(errno::EAGAIN));
    assert_eq!((kernel.readiness(read), kernel.readiness(write)), (Ready::READ, Ready::NONE));
    assert_eq!(kernel.read(read, 1), Ok(b"1".to_vec()));
    assert_eq!(kernel.readiness(write), Ready::WRITE);
    kernel.close(read).unwrap();
    assert_eq!(kernel.readiness(write), Ready::WRITE | Ready::ERROR);
}

#[test]
fn half_close_and_reset() {
    let sim = Sim::new(1);
    let mut kernel = sim.kernel();
    let (a, b) = kernel.stream_pair().unwrap();
    kernel.write(a, b"x").unwrap();
    kernel.shutdown_write(a).unwrap();
    assert_eq!(kernel.readiness(b), Ready::READ | Ready::WRITE | Ready::PEER_CLOSED);
    assert_eq!(kernel.read(b, 9), Ok(b"x".to_vec()));
    assert_eq!(kernel.read(b, 9), Ok(vec![]));
    assert_eq!(kernel.write(b, b"y"), Ok(1), "the other direction is open");
    kernel.close(a).unwrap(); // with y unread
    assert!(kernel.readiness(b).contains(Ready::ERROR | Ready::HANGUP));
    assert_eq!(kernel.read(b, 9), Err(errno::ECONNRESET));
    assert_eq!(kernel.read(b, 9), Ok(vec![]), "told once");
    let (c, d) = kernel.stream_pair().unwrap();
    kernel.close_with_reset(c).unwrap();
    assert_eq!(kernel.write(d, b"z"), Err(errno::ECONNRESET));
}

#[test]
fn a_slow_lossy_network_keeps_the_order() {
    let sim = Sim::new(42);
    let mut kernel = sim.kernel();
    kernel.delay = Delay { min_ns: 10, max_ns: 1000, loss_permille: 200 };
    let (a, b) = kernel.stream_pair().unwrap();
    let sent: Vec<u8> = (0..200).collect();
    for byte in &sent {
        kernel.write(a, &[*byte]).unwrap();
    }
    kernel.close(a).unwrap();
    assert_eq!(kernel.readiness(b), Ready::WRITE);
    assert_eq!(kernel.write(b, b"into the void"), Ok(13), "the close has not arrived");
    let mut received = Vec::new();
    while let Some(at_ns) = kernel.next_happening_ns() {
        let by_ns = at_ns - kernel.now_ns();
        kernel.advance(by_ns);
        received.extend(kernel.read(b, 999).unwrap_or_default());
    }
    assert_eq!(received, sent);
    assert_eq!(kernel.write(b, b"x"), Err(errno::EPIPE));
}

#[test]
fn listeners_queue_and_survive_running_out_of_descriptors() {
    let sim = Sim::new(1);
    let mut kernel = sim.kernel();
    let listener = kernel.listener().unwrap();
    kernel.max_descriptors = 5;
    let client = kernel.connect(listener).unwrap();
    assert_eq!(kernel.readiness(listener), Ready::READ);
    assert_eq!(kernel.connect(listener), Err(errno::EMFILE));
    assert_eq!(kernel.accept(listener), Err(errno::EMFILE));
    kernel.max_descriptors = 9;
    let server = kernel.accept(listener).unwrap();
    assert_eq!(kernel.accept(listener), Err(errno::EAGAIN));
    kernel.write(server, b"hello").unwrap();
    assert_eq!(kernel.read(client, 9), Ok(b"hello".to_vec()));
}

#[test]
fn every_imitation_sleeps_to_the_deadline_or_to_the_next_happening() {
    for personality in Personality::ALL {
        let sim = Sim::new(1);
        let mut backend = sim.backend(personality);
        let (a, b) = sim.kernel().stream_pair().unwrap();
        let token = add(&mut backend, a, 1, Interest::READ, Trigger::Level);
        sim.kernel().at(500, move |kernel| assert_eq!(kernel.write(b, b"x"), Ok(1)));
        let mut reports = Vec::new();
        backend.wait(Some(100), &mut reports).unwrap();
        assert_eq!((reports.len(), sim.kernel().now_ns()), (0, 100));
        backend.wait(None, &mut reports).unwrap();
        assert_eq!(
            (reports.as_slice(), sim.kernel().now_ns()),
            (&[Report { token, ready: Ready::READ }][..], 500)
        );
        assert_eq!(look(&mut backend).len(), 1, "{personality:?}: level repeats");
        backend.apply(Change::Remove { token }).unwrap();
        assert_eq!(look(&mut backend), []);
    }
}

#[test]
fn edges_and_one_shots_are_told_once() {
    for personality in [Personality::Epoll, Personality::Uring] {
        let sim = Sim::new(1);
        let mut backend = sim.backend(personality);
        let (a, b) = sim.kernel().stream_pair().unwrap();
        let (c, d) = sim.kernel().stream_pair().unwrap();
        add(&mut backend, a, 1, Interest::READ, Trigger::Edge);
        let once = add(&mut backend, c, 1, Interest::READ, Trigger::OneShot);
        let write_both = || {
            sim.kernel().write(b, b"x").unwrap();
            sim.kernel().write(d, b"x").unwrap();
        };
        write_both();
        assert_eq!(look(&mut backend).len(), 2);
        assert_eq!(look(&mut backend).len(), 0);
        write_both();
        assert_eq!(look(&mut backend).len(), 1, "{personality:?}: the edge only");
        let watch = Watch { interest: Interest::READ, trigger: Trigger::OneShot, ..Watch::default() };
        backend.apply(Change::Modify { token: once, watch }).unwrap();
        assert_eq!(look(&mut backend), [Report { token: once, ready: Ready::READ }]);
    }
}

#[test]
fn a_registration_outlives_its_number_where_the_real_one_does() {
    let sim = Sim::new(1);
    let mut backend = sim.backend(Personality::Epoll);
    let (a, b) = sim.kernel().stream_pair().unwrap();
    let other = sim.kernel().dup(a).unwrap();
    let token = add(&mut backend, a, 1, Interest::READ, Trigger::Level);
    sim.kernel().close(a).unwrap();
    backend.apply(Change::Remove { token }).unwrap();
    sim.kernel().write(b, b"x").unwrap();
    assert_eq!(look(&mut backend), [Report { token, ready: Ready::READ }], "epoll goes on for the dup");
    assert_eq!(backend.stats().leftover_reports, 1);
    backend.reinit().unwrap();
    assert_eq!(look(&mut backend), []);
    let token = add(&mut backend, other, 1, Interest::READ, Trigger::Level);
    sim.kernel().close(other).unwrap();
    assert_eq!(look(&mut backend), [], "with the last descriptor it is gone in silence");
    backend.apply(Change::Remove { token }).unwrap();
}

#[test]
fn a_closed_number_is_told_once_where_the_kernel_looks_at_numbers() {
    for personality in [Personality::Poll, Personality::Select, Personality::Uring] {
        let sim = Sim::new(1);
        let mut backend = sim.backend(personality);
        let (a, _) = sim.kernel().stream_pair().unwrap();
        let token = add(&mut backend, a, 1, Interest::READ, Trigger::Level);
        sim.kernel().close(a).unwrap();
        assert_eq!(look(&mut backend), [Report { token, ready: Ready::INVALID }], "{personality:?}");
        assert_eq!(look(&mut backend), []);
        add(&mut backend, a, 2, Interest::READ, Trigger::Level); // taken as new
    }
}

#[test]
fn io_uring_holds_the_file_of_a_closed_number() {
    let sim = Sim::new(1);
    let mut backend = sim.backend(Personality::Uring);
    let (a, b) = sim.kernel().stream_pair().unwrap();
    let token = add(&mut backend, a, 1, Interest::READ, Trigger::Level);
    look(&mut backend);
    sim.kernel().close(a).unwrap();
    assert_eq!(sim.kernel().read(b, 1), Err(errno::EAGAIN), "the armed poll keeps it open");
    backend.apply(Change::Remove { token }).unwrap();
    assert_eq!(sim.kernel().read(b, 1), Ok(vec![]));
}

#[test]
fn a_regular_file_is_always_ready() {
    for personality in Personality::ALL {
        let sim = Sim::new(1);
        let mut backend = sim.backend(personality);
        let file = sim.kernel().regular_file().unwrap();
        let token = add(&mut backend, file, 1, Interest::READ, Trigger::Level);
        for _ in 0..3 {
            assert_eq!(look(&mut backend), [Report { token, ready: Ready::READ }], "{personality:?}");
        }
        sim.kernel().close(file).unwrap();
        assert_eq!(look(&mut backend), [Report { token, ready: Ready::INVALID }], "{personality:?}");
        assert_eq!(look(&mut backend), []);
    }
}

#[test]
fn faults_are_told_as_the_contract_has_them() {
    let sim = Sim::new(9);
    let mut backend = sim.backend(Personality::Epoll);
    let (a, b) = sim.kernel().stream_pair().unwrap();
    sim.kernel().faults.refuse_next.push_back(Some(errno::ENOSPC));
    let (token, watch) = (Token::new(a, 1), Watch { interest: Interest::READ, ..Watch::default() });
    assert_eq!(backend.apply(Change::Add { token, watch }), Err(errno::ENOSPC));
    assert_eq!(backend.watched(a), None);
    backend.apply(Change::Add { token, watch }).unwrap();
    let mut reports = Vec::new();
    sim.kernel().faults.fail_waits.push_back(errno::ENOMEM);
    assert_eq!(backend.wait(None, &mut reports), Err(errno::ENOMEM));
    sim.kernel().faults.interrupt_next = 1;
    assert_eq!((backend.wait(None, &mut reports), reports.len()), (Ok(()), 0));
    sim.kernel().write(b, b"x").unwrap();
    sim.kernel().faults.delay_report_permille = 500;
    let told: usize = (0..100).map(|_| look(&mut backend).len()).sum();
    assert!((20..80).contains(&told), "{told} of 100");
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_sleep_that_nothing_can_end_is_told() {
    let sim = Sim::new(1);
    let _ = sim.backend(Personality::Poll).wait(None, &mut Vec::new());
}

#[test]
#[should_panic(expected = "spin")]
fn a_spin_is_told() {
    let sim = Sim::new(1);
    let mut backend = sim.backend(Personality::Poll);
    loop {
        look(&mut backend);
    }
}

#[test]
#[should_panic(expected = "had it added already")]
fn adding_twice_is_the_brains_fault() {
    let sim = Sim::new(1);
    let mut backend = sim.backend(Personality::Epoll);
    let (a, _) = sim.kernel().stream_pair().unwrap();
    add(&mut backend, a, 1, Interest::READ, Trigger::Level);
    add(&mut backend, a, 2, Interest::READ, Trigger::Level);
}

#[test]
#[should_panic(expected = "never added")]
fn removing_the_unknown_is_the_brains_fault() {
    let sim = Sim::new(1);
    let _ = sim.backend(Personality::Epoll).apply(Change::Remove { token: Token::new(3, 1) });
}
