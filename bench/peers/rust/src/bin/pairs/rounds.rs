//! Who is measured when, and what comes out.

use crate::loader::Loader;
use crate::server::{Processors, Server, Usage};
use crate::spread::Spread;
use crate::{Load, Outcome, Plan};
use std::thread;
use std::time::Duration;

/// A round in which somebody waited for a processor for longer than this part of a window is taken again ...
const NOISY: f64 = 0.10;
/// ... as long as there are no more than so many times the rounds asked for.
const PATIENCE: usize = 2;
/// Until a process that has nothing to do sleeps.
const SETTLE: Duration = Duration::from_millis(3);

/// Load before a window that is not measured: whoever ran before has left his own things in the caches.
const LEAD_IN: Duration = Duration::from_millis(30);

/// One window.
#[derive(Clone, Copy)]
struct Window {
    messages: f64,
    elapsed_ns: f64,
    server: Usage,
    loader: Usage,
}

impl Window {
    /// Server CPU per message.
    fn cost_us(&self) -> f64 {
        self.server.run_ns as f64 / self.messages / 1e3
    }

    fn waited(&self) -> f64 {
        (self.server.wait_ns.max(self.loader.wait_ns)) as f64 / self.elapsed_ns
    }
}

/// Measures and prints a table in Markdown.
pub fn run(plan: &Plan) -> Outcome<()> {
    duolu_peers::raise_descriptor_limit();
    let processors = Processors::allowed()?;
    if processors.count() < 2 {
        eprintln!("pairs: servers and loaders share one processor here, which is another figure");
    }
    let starts = (0..plan.starts).map(|number| Start::measure(plan, &processors, number));
    let starts = starts.collect::<Outcome<Vec<_>>>()?;
    print(plan, &starts);
    Ok(())
}

/// What one set of processes and connections gave. Where the kernel happened to put their sockets makes some per cent
/// for as long as they live, so everything is started several times.
struct Start {
    /// By round, then by server.
    rounds: Vec<Vec<Window>>,
    /// Rounds that were disturbed; left out, unless too few were quiet.
    disturbed: usize,
    all_counted: bool,
}

impl Start {
    fn measure(plan: &Plan, processors: &Processors, number: usize) -> Outcome<Self> {
        let count = plan.servers.len();
        // Who starts first changes too.
        let mut order: Vec<usize> = (0..count).map(|at| (at + number) % count).collect();
        if number % 2 == 1 {
            order.reverse();
        }
        let mut stands = order.iter().map(|_| None).collect::<Vec<_>>();
        for at in order {
            let (name, command) = &plan.servers[at];
            processors.pin_to_first()?;
            let server = Server::start(name, command)?;
            processors.pin_to_last()?;
            let loader = Loader::start(server.port, plan.load).map_err(|error| format!("{name}: {error}"))?;
            stands[at] = Some(Stand { server, loader });
        }
        let mut stands: Vec<Stand> = stands.into_iter().flatten().collect();
        let mut rounds: Vec<Vec<Window>> = Vec::new();
        round(plan, &mut stands, 0)?; // warms up
        let is_quiet = |round: &Vec<Window>| round.iter().all(|window| window.waited() < NOISY);
        let mut quiet = 0;
        while quiet < plan.rounds && rounds.len() < plan.rounds * PATIENCE {
            rounds.push(round(plan, &mut stands, rounds.len())?);
            quiet += usize::from(rounds.last().is_some_and(is_quiet));
        }
        let (disturbed, all_counted) = (rounds.len() - quiet, quiet < plan.rounds);
        if !all_counted {
            rounds.retain(is_quiet);
        }
        Ok(Start { rounds, disturbed, all_counted })
    }

    fn median(&self, figure: impl Fn(&[Window]) -> f64) -> f64 {
        Spread::of(self.rounds.iter().map(|round| figure(round))).median()
    }
}

/// A server and who loads it.
struct Stand {
    server: Server,
    loader: Loader,
}

fn round(plan: &Plan, stands: &mut [Stand], number: usize) -> Outcome<Vec<Window>> {
    let count = stands.len();
    let mut windows = vec![None; count];
    for turn in 0..count {
        // Nobody always begins, ends, or runs after the same neighbour.
        let turn = if number.is_multiple_of(2) { turn } else { count - 1 - turn };
        let at = (turn + number / 2) % count;
        windows[at] = Some(stands[at].window(plan.window)?);
    }
    Ok(windows.into_iter().flatten().collect())
}

impl Stand {
    fn window(&mut self, length: Duration) -> Outcome<Window> {
        self.load(LEAD_IN)?;
        thread::sleep(SETTLE);
        let before = (self.server.usage()?, self.loader.usage()?);
        let (messages, elapsed_ns) = self.load(length)?;
        thread::sleep(SETTLE);
        let server = self.server.usage()?.since(before.0);
        let loader = self.loader.usage()?.since(before.1);
        Ok(Window { messages: messages as f64, elapsed_ns: elapsed_ns as f64, server, loader })
    }

    fn load(&mut self, length: Duration) -> Outcome<(u64, u64)> {
        self.loader.window(length).map_err(|error| format!("{}: {error}", self.server.name).into())
    }
}

fn print(plan: &Plan, starts: &[Start]) {
    let Load { connections, active, bytes, churn } = plan.load;
    let how = match (churn, active < connections) {
        (true, _) => format!("a connection for each message, {connections} at a time"),
        (false, true) => format!("{active} active of {connections} connections"),
        (false, false) => format!("{connections} connections"),
    };
    println!("### {how}, {bytes} B\n");
    println!(
        "| server | CPU per message, us | to the first | messages a second | busy: server, loader | waited |"
    );
    println!("|---|---|---|---|---|---|");
    for (at, (name, _)) in plan.servers.iter().enumerate() {
        let of = |figure: fn(&Window) -> f64| {
            Spread::of(starts.iter().map(|start| start.median(|round| figure(&round[at]))))
        };
        let ratio = |round: &[Window]| round[at].cost_us() / round[0].cost_us();
        println!(
            "| {name} | {} | {} | {:.0} | {:.0} %, {:.0} % | {:.1} % |",
            of(Window::cost_us),
            Spread::of(starts.iter().map(|start| start.median(ratio))),
            of(|window| window.messages / window.elapsed_ns * 1e9).median(),
            of(|window| window.server.run_ns as f64 / window.elapsed_ns * 100.0).median(),
            of(|window| window.loader.run_ns as f64 / window.elapsed_ns * 100.0).median(),
            of(|window| window.waited() * 100.0).median(),
        );
    }
    let disturbed: usize = starts.iter().map(|start| start.disturbed).sum();
    let noisy = starts.iter().filter(|start| start.all_counted).count();
    print!("\n{} starts of {} rounds; {disturbed} disturbed rounds more", starts.len(), plan.rounds);
    match noisy {
        0 => println!(", left out.\n"),
        _ => println!(", COUNTED in {noisy} starts because too few were quiet.\n"),
    }
}
