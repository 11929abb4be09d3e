//! Several loops on one listening socket, as the threads of a server: whoever is woken, every connection is accepted
//! once and none is left waiting; and with exclusive watches a connection wakes one loop, not all.

use duolu_core::{Engine, EventSpec, Interest, Source, Timeout, Trigger};
use duolu_sim::{Personality, Rng, Sim, SimBackend, SimClock};

struct Herd {
    sim: Sim,
    rng: Rng,
    listener: i32,
    loops: Vec<Engine<SimBackend, SimClock>>,
    connected: u64,
    accepted: u64,
    told: u64,
    in_vain: u64,
}

impl Herd {
    fn new(seed: u64, personality: Personality, exclusive: bool) -> Self {
        let (sim, mut rng) = (Sim::new(seed), Rng::new(seed));
        let listener = sim.kernel().listener().expect("a listener");
        let mut kernel = sim.kernel();
        kernel.faults.reorder = rng.chance(500);
        kernel.faults.delay_report_permille = rng.below(300) as u32;
        drop(kernel);
        let trigger =
            *rng.pick(&[Trigger::Level, Trigger::Level, Trigger::OneShot]).unwrap_or(&Trigger::Level);
        let one = |_| {
            let mut engine = Engine::new(Box::new(sim.backend(personality)), sim.clock(), 1);
            let mut spec = EventSpec::new();
            (spec.source, spec.interest) = (Source::Fd(listener), Interest::READ);
            (spec.trigger, spec.exclusive, spec.persist) = (trigger, exclusive, trigger == Trigger::Level);
            let id = engine.create(spec).expect("an event");
            engine.add(id, Timeout::Keep).expect("it is alone in its loop");
            engine.poll(Some(0)).expect("no faults"); // io_uring arms in the wait
            engine
        };
        let loops = (0..rng.between(2, 5)).map(one).collect();
        Herd { sim, rng, listener, loops, connected: 0, accepted: 0, told: 0, in_vain: 0 }
    }

    fn connect(&mut self) {
        let mut kernel = self.sim.kernel();
        let fd = kernel.connect(self.listener).expect("descriptors are left");
        kernel.close(fd).expect("the client goes; its connection waits");
        self.connected += 1;
    }

    /// One loop asks the kernel. Others may run before it comes to its callbacks.
    fn poll(&mut self, at: usize) {
        if self.loops[at].reactor().active_count() == 0 {
            self.loops[at].poll(Some(0)).expect("no faults");
        }
    }

    /// Its callbacks; each accepts a few, as one does that is fair to its other descriptors.
    fn dispatch(&mut self, at: usize) {
        while let Some(active) = self.loops[at].next_active() {
            self.told += 1;
            let (most, before) = (self.rng.between(1, 3), self.accepted);
            for _ in 0..most {
                let mut kernel = self.sim.kernel();
                let Ok(fd) = kernel.accept(self.listener) else { break };
                kernel.close(fd).expect("served");
                self.accepted += 1;
            }
            self.in_vain += u64::from(self.accepted == before);
            // A one-shot is armed again; a persistent one is all the time.
            self.loops[at].add(active.id, Timeout::Keep).expect("alone in its loop");
        }
    }

    fn run(&mut self) {
        for _ in 0..400 {
            let at = self.rng.below(self.loops.len() as u64) as usize;
            match self.rng.below(16) {
                0 => self.connect(),
                1..10 => self.poll(at),
                _ => self.dispatch(at),
            }
        }
        self.sim.kernel().faults = duolu_sim::Faults::default();
        while self.accepted < self.connected {
            let before = self.accepted;
            for at in 0..self.loops.len() {
                self.poll(at);
                self.dispatch(at);
            }
            assert!(
                self.accepted > before,
                "{} connections are left waiting",
                self.connected - self.accepted
            );
        }
        self.loops.iter().for_each(Engine::verify);
    }
}

#[test]
fn loops_that_share_a_listener_lose_no_connection_and_exclusive_ones_wake_one() {
    let (mut exclusive, mut shared) = ([0; 2], [0; 2]);
    for seed in 0..100 {
        for personality in [Personality::Epoll, Personality::Uring] {
            for alone in [true, false] {
                let mut herd = Herd::new(seed, personality, alone);
                herd.run();
                let sum = if alone { &mut exclusive } else { &mut shared };
                (sum[0], sum[1]) = (sum[0] + herd.told, sum[1] + herd.in_vain);
            }
        }
    }
    println!("woken, and in vain: {exclusive:?} exclusive, {shared:?} shared");
    assert!(exclusive[1] * 2 < shared[1], "an exclusive watch wakes as many in vain as a shared one");
}
