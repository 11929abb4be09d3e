//! What a datagram costs: a batch with each system call against one message with each, in windows that take turns. One thread
//! does everything; only the side that is measured is timed, by
//! its CPU time. Prints Markdown. `duolu-bench-datagrams [ROUNDS]`, 100 by default.

#[path = "../spread.rs"]
mod spread;

use duolu::datagram::Address;
use duolu::{Context, DatagramEvent, DatagramOptions, Datagrams, EventId, EventLoop, Interest, Next};
use rustix::time::{ClockId, clock_gettime};
use spread::Spread;
use std::error::Error;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Long against the clock's own cost, short against what else disturbs the machine.
const WINDOW: Duration = Duration::from_millis(10);

/// Two sockets that are connected to each other: ours is measured.
struct Pair {
    ours: Option<UdpSocket>,
    theirs: UdpSocket,
}

fn pair() -> Outcome<Pair> {
    let (ours, theirs) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    ours.connect(theirs.local_addr()?)?;
    theirs.connect(ours.local_addr()?)?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    for socket in [&ours, &theirs] {
        duolu::net::set_recv_buffer(socket, 4 << 20)?;
    }
    Ok(Pair { ours: Some(ours), theirs })
}

/// How many messages were handled so far.
type Loop = EventLoop<usize>;

/// One way to do the work.
struct Subject {
    name: &'static str,
    messages: usize,
    /// Does it once: how long the measured side took.
    burst: Box<dyn FnMut() -> Duration>,
}

/// User and system time of this thread: whoever else wants the processor is not in it.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn timed(work: impl FnOnce()) -> Duration {
    let before = cpu();
    work();
    cpu() - before
}

fn take_all(socket: &UdpSocket, bytes: &mut [u8]) {
    while socket.recv(bytes).is_ok() {}
}

/// The loop turns until so many messages were handled; what was lost is not waited for.
fn turn_until(event_loop: &mut Loop, handled: usize) {
    for _ in 0..10_000 {
        if *event_loop.data() >= handled {
            *event_loop.data() = 0;
            return;
        }
        event_loop.run_nonblocking().expect("a turn");
    }
    panic!("{} of {handled} messages came", event_loop.data());
}

/// A server for bursts: `send` has the client send one.
fn server(
    name: &'static str,
    messages: usize,
    mut pair: Pair,
    install: impl FnOnce(&mut Loop, UdpSocket) -> Outcome,
    send: impl Fn(&mut Loop, &UdpSocket) + 'static,
) -> Outcome<Subject> {
    let mut event_loop = EventLoop::with_data(0)?;
    install(&mut event_loop, pair.ours.take().ok_or("used up")?)?;
    let mut bytes = vec![0; 65536];
    let burst = Box::new(move || {
        send(&mut event_loop, &pair.theirs);
        let took = timed(|| turn_until(&mut event_loop, messages));
        take_all(&pair.theirs, &mut bytes);
        took
    });
    Ok(Subject { name, messages, burst })
}

/// recvfrom(2) until nothing is there, and sendto(2) for each where it is an echo.
fn one_by_one(echo: bool) -> impl FnOnce(&mut Loop, UdpSocket) -> Outcome {
    move |event_loop, socket| {
        let mut bytes = vec![0; 65536];
        event_loop.register(socket, Interest::READ, move |ctx, socket: &UdpSocket, _| {
            loop {
                match socket.recv_from(&mut bytes) {
                    Ok((len, from)) => {
                        *ctx.data() += 1;
                        if echo {
                            socket.send_to(&bytes[..len], from).expect("the loopback takes it");
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Next::Keep,
                    Err(error) => panic!("{error}"),
                }
            }
        })?;
        Ok(())
    }
}

fn batch(echo: bool, options: DatagramOptions) -> impl FnOnce(&mut Loop, UdpSocket) -> Outcome {
    move |event_loop, socket| {
        let handle = move |ctx: &mut Context<usize>, socket: &mut Datagrams<'_>, event: DatagramEvent<'_>| {
            let DatagramEvent::Received(batch) = event else { panic!("{event}") };
            for message in batch {
                *ctx.data() += message.segments().count();
                if echo {
                    socket.reply(&message, message.bytes()).expect("room");
                }
            }
        };
        event_loop.datagrams(socket, options, handle)?;
        Ok(())
    }
}

fn send_each(messages: usize, bytes: usize) -> impl Fn(&mut Loop, &UdpSocket) + 'static {
    let message = vec![7; bytes];
    move |_, client| {
        (0..messages).for_each(|_| assert_eq!(client.send(&message).expect("the loopback takes it"), bytes));
    }
}

/// The client cuts by GSO, so that the kernel has what it could join.
fn send_cut(
    cutter: UdpSocket,
    bytes: usize,
    segment: usize,
) -> Outcome<impl Fn(&mut Loop, &UdpSocket) + 'static> {
    let mut event_loop = EventLoop::with_data(0)?;
    let ignore = |_: &mut Context<usize>, _: &mut Datagrams<'_>, _: DatagramEvent<'_>| {};
    let id = event_loop.datagrams(cutter, DatagramOptions::new(), ignore)?;
    let (cutter, message) = (std::cell::RefCell::new(event_loop), vec![7; bytes]);
    Ok(move |_: &mut Loop, _: &UdpSocket| send_segments(&mut cutter.borrow_mut(), id, &message, segment))
}

fn send_segments(event_loop: &mut Loop, id: EventId, message: &[u8], segment: usize) {
    let sent =
        event_loop.with_datagrams(id, |_, socket| socket.send_segments(Address::Unnamed, message, segment));
    sent.expect("it is there").expect("room");
}

/// The sending side measured: `send` does it.
fn sender(
    name: &'static str,
    messages: usize,
    mut send: impl FnMut(&mut Loop, EventId) + 'static,
) -> Outcome<Subject> {
    let mut pair = pair()?;
    let mut event_loop = EventLoop::with_data(0)?;
    let ignore = |_: &mut Context<usize>, _: &mut Datagrams<'_>, _: DatagramEvent<'_>| {};
    let id = event_loop.datagrams(pair.ours.take().ok_or("used up")?, DatagramOptions::new(), ignore)?;
    let mut bytes = vec![0; 65536];
    let burst = Box::new(move || {
        let took = timed(|| send(&mut event_loop, id));
        take_all(&pair.theirs, &mut bytes);
        took
    });
    Ok(Subject { name, messages, burst })
}

/// Sends one by one, on a socket without a loop.
fn sender_by_hand(name: &'static str, messages: usize, bytes: usize) -> Outcome<Subject> {
    let mut pair = pair()?;
    let (ours, message, mut room) = (pair.ours.take().ok_or("used up")?, vec![7; bytes], vec![0; 65536]);
    let burst = Box::new(move || {
        let took =
            timed(|| (0..messages).for_each(|_| assert_eq!(ours.send(&message).expect("room"), bytes)));
        take_all(&pair.theirs, &mut room);
        took
    });
    Ok(Subject { name, messages, burst })
}

fn tables() -> Outcome<Vec<(&'static str, Vec<Subject>)>> {
    let plain = DatagramOptions::new;
    let receive = vec![
        server("recvfrom, one by one", 32, pair()?, one_by_one(false), send_each(32, 64))?,
        server("the same again", 32, pair()?, one_by_one(false), send_each(32, 64))?,
        server("datagrams", 32, pair()?, batch(false, plain()), send_each(32, 64))?,
    ];
    let echo = vec![
        server("recvfrom and sendto, one by one", 32, pair()?, one_by_one(true), send_each(32, 64))?,
        server("datagrams", 32, pair()?, batch(true, plain()), send_each(32, 64))?,
    ];
    let message = vec![7; 1000];
    let long = vec![7; 64_000];
    let send = vec![
        sender_by_hand("send, one by one", 64, 1000)?,
        sender("datagrams, send", 64, move |event_loop, id| {
            let sent = event_loop.with_datagrams(id, |_, socket| {
                (0..64).for_each(|_| socket.send(&message).expect("room"));
            });
            sent.expect("it is there");
        })?,
        sender("datagrams, send_segments", 64, move |event_loop, id| {
            send_segments(event_loop, id, &long, 1000)
        })?,
    ];
    let mut joined = Vec::new();
    for (name, options) in [
        ("recvfrom, one by one", None),
        ("datagrams", Some(plain())),
        ("datagrams, gro", Some(plain().gro())),
    ] {
        let mut pair = pair()?;
        let cutter = send_cut(pair.theirs.try_clone()?, 64_000, 1000)?;
        let ours = Pair { ours: pair.ours.take(), theirs: pair.theirs };
        joined.push(match options {
            None => server(name, 64, ours, one_by_one(false), cutter)?,
            Some(options) => server(name, 64, ours, batch(false, options), cutter)?,
        });
    }
    Ok(vec![
        ("Receiving 32 messages of 64 bytes", receive),
        ("Echoing 32 messages of 64 bytes", echo),
        ("Sending 64 datagrams of 1,000 bytes", send),
        ("Receiving 64 datagrams of 1,000 bytes that were sent as segments", joined),
    ])
}

/// Nanoseconds for each message.
fn window(subject: &mut Subject) -> f64 {
    let (mut took, mut messages) = (Duration::ZERO, 0);
    while took < WINDOW {
        took += (subject.burst)();
        messages += subject.messages;
    }
    took.as_nanos() as f64 / messages as f64
}

fn main() -> Outcome {
    let rounds: usize = match std::env::args().nth(1) {
        Some(text) => text
            .parse()
            .map_err(|_| format!("usage: duolu-bench-datagrams [ROUNDS]; {text:?} is no number"))?,
        None => 100,
    };
    for (title, mut subjects) in tables()? {
        for subject in &mut subjects {
            let _ = window(subject); // warms up
        }
        let mut figures = vec![Vec::new(); subjects.len()];
        for round in 0..rounds {
            for at in 0..subjects.len() {
                // Forwards and backwards, so that nobody always runs after the same neighbour.
                let at = if round % 2 == 0 { at } else { subjects.len() - 1 - at };
                figures[at].push(window(&mut subjects[at]));
            }
        }
        println!("\n### {title}\n\n| | ns per message | against the first, pair by pair |\n|---|---|---|");
        for (subject, own) in subjects.iter().zip(&figures) {
            let ratios = own.iter().zip(&figures[0]).map(|(own, floor)| own / floor).collect();
            println!("| {} | {} | {} |", subject.name, Spread::of(own.clone()), Spread::of(ratios).precise());
        }
    }
    Ok(())
}
