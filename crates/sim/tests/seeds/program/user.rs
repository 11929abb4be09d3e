//! What the user does: a step is one call, or one thing that happens to a descriptor.

use super::{COMMON_NS, MAX_DESCRIPTORS, MAX_EVENTS, Program};
use duolu_core::{EventId, EventSpec, Instant, Interest, Ready, Refused, Source, Timeout, Trigger};
use duolu_sim::{EndKind, Personality, errno};

impl Program {
    pub(super) fn step(&mut self) {
        match self.rng.below(100) {
            0..12 => self.open(),
            12..24 => self.create(),
            24..46 => self.add(),
            46..54 => self.delete(),
            54..58 => self.destroy(),
            58..63 => self.activate(),
            63..66 => self.set_interest(),
            66..68 => self.signal(),
            68..78 => self.write(),
            78..86 => self.read(),
            86..88 => self.half_close(),
            88..95 => self.close(),
            95..98 => self.advance(),
            98 => self.stale_id(),
            _ => self.reinit(),
        }
    }

    pub(super) fn any_event(&mut self) -> Option<EventId> {
        let index = self.rng.below(self.model.events.len() as u64) as usize;
        self.model.events.get(index).map(|event| event.id)
    }

    fn any_fd(&mut self) -> Option<i32> {
        let open: Vec<i32> = self.owned.keys().copied().collect();
        self.rng.pick(&open).copied()
    }

    fn opened(&mut self, fd: i32) {
        let known = self.model.events.iter().any(|event| event.fd() == Some(fd));
        self.summary.reopened += u64::from(known);
        let owned = self.rng.chance(400);
        self.owned.insert(fd, owned);
        note!(self, "open {fd}{}{}", if owned { " owned" } else { "" }, if known { " again" } else { "" });
    }

    fn open(&mut self) {
        if self.owned.len() >= MAX_DESCRIPTORS {
            return;
        }
        let listeners: Vec<i32> = {
            let kernel = self.sim.kernel();
            self.owned.keys().copied().filter(|&fd| kernel.kind(fd) == Ok(EndKind::Listener)).collect()
        };
        let dup_of = self.any_fd();
        let what = self.rng.below(10);
        let listener = self.rng.pick(&listeners).copied();
        let fds: Vec<i32> = {
            let mut kernel = self.sim.kernel();
            match (what, listener, dup_of) {
                (0, Some(listener), _) => kernel.connect(listener).into_iter().collect(),
                (1, Some(listener), _) => kernel.accept(listener).into_iter().collect(),
                (0..=1, None, _) => kernel.listener().into_iter().collect(),
                (2, ..) => kernel.counter().into_iter().collect(),
                (3, ..) => kernel.regular_file().into_iter().collect(),
                (4, ..) => kernel.pipe().into_iter().flat_map(|(a, b)| [a, b]).collect(),
                (5..=6, _, Some(fd)) => kernel.dup(fd).into_iter().collect(),
                _ => kernel.stream_pair().into_iter().flat_map(|(a, b)| [a, b]).collect(),
            }
        };
        for fd in fds {
            self.opened(fd);
        }
    }

    fn any_interest(&mut self) -> Interest {
        let bits = *self.rng.pick(&[1, 1, 4, 4, 5, 2, 3, 7]).unwrap_or(&1);
        Interest::from_bits(bits)
    }

    fn create(&mut self) {
        if self.model.events.len() >= MAX_EVENTS {
            return self.destroy();
        }
        self.serial += 1;
        let mut spec = EventSpec::new();
        match self.rng.below(10) {
            0..2 => {}
            2 => spec.source = Source::Signal(self.rng.between(1, 3) as i32),
            _ => {
                let Some(fd) = self.any_fd() else { return };
                spec.source = Source::Fd(fd);
                spec.interest = self.any_interest();
                spec.owned = self.owned[&fd];
                spec.trigger = *self
                    .rng
                    .pick(&[Trigger::Level, Trigger::Level, Trigger::Edge, Trigger::OneShot])
                    .unwrap_or(&Trigger::Level);
            }
        }
        spec.persist = self.rng.chance(600);
        spec.priority = self.rng.below(u64::from(self.priorities)) as u8;
        if self.rng.chance(20) && self.priorities < 256 {
            spec.priority = self.priorities as u8;
            spec.interest |= Interest::READ; // nothing else to refuse
            assert_eq!(self.engine.create(spec), Err(Refused::BadPriority(spec.priority)));
            return;
        }
        let untold = self.personality == Personality::Select && spec.interest == Interest::PEER_CLOSED;
        match self.engine.create(spec) {
            Ok(id) => {
                assert!(!untold, "PEER_CLOSED alone is never told here");
                let edges = matches!(self.personality, Personality::Epoll | Personality::Uring);
                if spec.trigger == Trigger::Edge && !edges {
                    spec.trigger = Trigger::Level;
                }
                note!(self, "create {id:?} {spec:?}");
                self.model.created(id, spec);
                if self.rng.chance(800) {
                    self.add_event(id);
                }
            }
            Err(refused) => assert!(untold, "{refused:?}: {spec:?}"),
        }
    }

    fn add(&mut self) {
        if let Some(id) = self.any_event() {
            self.add_event(id);
        }
    }

    fn any_timeout(&mut self) -> (Timeout, u64) {
        let now_ns = self.sim.kernel().now_ns();
        let timeout = match self.rng.below(12) {
            0..4 => Timeout::Keep,
            4 => Timeout::Never,
            5 => Timeout::After(self.rng.below(3)),
            6 => Timeout::After(self.rng.below(50_000_000)),
            7 => Timeout::After(*self.rng.pick(&[1 << 40, u64::MAX, 1_000, 1_000]).unwrap_or(&1)),
            8 => Timeout::At(Instant::from_nanos(self.rng.below(2 * now_ns + 10_000))),
            // Few different deadlines, so that many are equal.
            9 => Timeout::At(Instant::from_nanos((now_ns / 1_000_000 + self.rng.below(3)) * 1_000_000)),
            10 => Timeout::At(Instant::MAX),
            _ => {
                let which = self.rng.below(self.commons.len() as u64) as usize;
                return (Timeout::Common(self.commons[which]), COMMON_NS[which]);
            }
        };
        (timeout, 0)
    }

    fn add_event(&mut self, id: EventId) {
        let (timeout, common_ns) = self.any_timeout();
        let scripted = !self.clean && self.rng.chance(30);
        if scripted {
            self.sim.kernel().faults.refuse_next.push_back(Some(errno::ENOMEM));
        }
        let mixed = self.model.is_mixed(id);
        let result = self.engine.add(id, timeout);
        self.sim.kernel().faults.refuse_next.clear();
        note!(self, "add {id:?} {timeout:?}: {result:?}");
        let now_ns = if timeout == Timeout::Keep { 0 } else { self.engine.now().as_nanos() };
        let event = self.model.find(id).expect("one of the model's").clone();
        match result {
            Ok(()) => {
                assert!(!mixed, "mixed triggers were taken");
                self.model.added(id, timeout, common_ns, now_ns);
                if let Some(fd) = event.fd().filter(|fd| !self.owned.contains_key(fd)) {
                    self.model.taint(fd); // added to a closed number, which the kernel will say later
                }
            }
            Err(Refused::MixedTriggers) => assert!(mixed, "{event:?} is not mixed"),
            Err(Refused::Kernel(errno)) => {
                let fd = event.fd().expect("only descriptors are refused by the kernel");
                let closed = errno == errno::EBADF && !self.owned.contains_key(&fd);
                assert!(closed || !self.clean, "{errno:?} on open descriptor {fd}");
                self.summary.refused += 1;
                self.model.taint(fd);
            }
            Err(other) => panic!("{other:?}: {event:?}"),
        }
    }

    fn delete(&mut self) {
        let Some(id) = self.any_event() else { return };
        self.delete_event(id);
    }

    pub(super) fn delete_event(&mut self, id: EventId) {
        let was = self.engine.del(id);
        note!(self, "del {id:?}: {was}");
        let event = self.model.find(id).expect("one of the model's");
        assert!(was || !(event.is_pending() || event.is_surely_active()), "{event:?}");
        self.model.deleted(id);
        assert!(!self.engine.is_pending(id) && !self.engine.is_active(id));
    }

    fn destroy(&mut self) {
        if let Some(id) = self.any_event() {
            self.destroy_event(id);
        }
    }

    pub(super) fn destroy_event(&mut self, id: EventId) {
        note!(self, "destroy {id:?}");
        assert!(self.engine.destroy(id));
        assert!(!self.engine.destroy(id), "destroyed twice");
        self.model.destroyed(id);
    }

    fn activate(&mut self) {
        let Some(id) = self.any_event() else { return };
        let ready =
            *self.rng.pick(&[Ready::NONE, Ready::USER, Ready::READ, Ready::WRITE]).unwrap_or(&Ready::USER);
        note!(self, "activate {id:?} {ready:?}");
        assert!(self.engine.activate(id, ready));
        self.model.activated(id, if ready.is_empty() { Ready::USER } else { ready });
    }

    fn set_interest(&mut self) {
        let Some(id) = self.any_event() else { return };
        let interest = self.any_interest();
        let result = self.engine.set_interest(id, interest);
        note!(self, "set_interest {id:?} {interest:?}: {result:?}");
        let untold = self.personality == Personality::Select && interest == Interest::PEER_CLOSED;
        let event = self.model.find(id).expect("one of the model's");
        match result {
            Ok(()) => {
                event.spec.interest = interest;
                event.asked |= interest;
                // What is ready already need not be told again where the kernel notices no change.
                if event.spec.trigger == Trigger::Edge && event.arrivals_seen.is_none() {
                    event.arrivals_seen = Some(u64::MAX);
                }
            }
            Err(refused) => assert!(untold || event.fd().is_none(), "{refused:?}: {event:?}"),
        }
    }

    fn signal(&mut self) {
        let signo = self.rng.between(1, 3) as i32;
        let count = *self.rng.pick(&[1, 2, 70_000]).unwrap_or(&1);
        note!(self, "signal {signo} x {count}");
        self.engine.deliver_signal(signo, count);
        self.model.signalled(signo, count);
    }

    fn stale_id(&mut self) {
        let spec = EventSpec::new();
        let id = self.engine.create(spec).expect("a timer");
        assert!(self.engine.destroy(id));
        assert!(!self.engine.del(id) && !self.engine.activate(id, Ready::USER) && !self.engine.exists(id));
        assert_eq!(self.engine.add(id, Timeout::After(1)), Err(Refused::NoSuchEvent));
        assert_eq!(self.engine.set_interest(id, Interest::READ), Err(Refused::NoSuchEvent));
    }

    fn reinit(&mut self) {
        note!(self, "reinit");
        self.engine.reinit().expect("the simulated kernel starts anew always");
        if !self.clean {
            self.taint_everything(); // a refusal may have been drawn
        }
    }

    pub(super) fn taint_everything(&mut self) {
        let fds: Vec<i32> = self.model.events.iter().filter_map(|event| event.fd()).collect();
        fds.into_iter().for_each(|fd| self.model.taint(fd));
    }

    fn write(&mut self) {
        let Some(fd) = self.any_fd() else { return };
        let count = self.rng.between(1, 80) as usize;
        let mut kernel = self.sim.kernel();
        let result = if kernel.kind(fd) == Ok(EndKind::Counter) {
            kernel.add_to_counter(fd, 1).map(|()| 8)
        } else {
            kernel.write(fd, &[7; 80][..count])
        };
        drop(kernel);
        note!(self, "write {fd}: {result:?}");
    }

    fn read(&mut self) {
        let Some(fd) = self.any_fd() else { return };
        let max = if self.rng.chance(500) { 1000 } else { 3 };
        let result = self.sim.kernel().read(fd, max).map(|bytes| bytes.len());
        note!(self, "read {fd}: {result:?}");
    }

    fn half_close(&mut self) {
        let Some(fd) = self.any_fd() else { return };
        let result = self.sim.kernel().shutdown_write(fd);
        note!(self, "shutdown {fd}: {result:?}");
    }

    /// Destroys first, removes first, or just closes behind the loop's back.
    fn close(&mut self) {
        let Some(fd) = self.any_fd() else { return };
        let way = self.rng.below(5);
        let on_it: Vec<EventId> =
            self.model.events.iter().filter(|event| event.fd() == Some(fd)).map(|event| event.id).collect();
        for id in on_it {
            let owned = self.model.find(id).is_some_and(|event| event.spec.owned);
            match way {
                0..2 => self.destroy_event(id),
                _ if owned => self.destroy_event(id), // that is what `owned` promises
                2..4 => self.delete_event(id),
                _ => {}
            }
        }
        let result = if self.rng.chance(200) {
            self.sim.kernel().close_with_reset(fd)
        } else {
            self.sim.kernel().close(fd)
        };
        note!(self, "close {fd} way {way}: {result:?}");
        self.owned.remove(&fd);
        self.model.taint(fd);
        if self.rng.chance(400) {
            self.open(); // gets the number at once
        }
    }

    fn advance(&mut self) {
        let by_ns = match self.rng.below(10) {
            0 => self.rng.below(1 << 50), // the machine slept for days
            1..4 => self.rng.below(10_000),
            _ => self.rng.below(30_000_000),
        };
        note!(self, "advance {by_ns}");
        self.sim.kernel().advance(by_ns);
    }
}
