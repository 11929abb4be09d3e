//! A climb as the page sees it: rungs of connections, each what `duolu load --json` told of a crowd, with the line that
//! the server said when it was ready. Older and newer versions write less and more, so every figure may be missing.

use super::super::run::{Run, Wall};
use serde_json::{Value, json};

/// The value of `kind` in such a result.
pub const KIND: &str = "crowd";

/// One server that held so many connections.
#[derive(Clone, Debug)]
pub struct Rung {
    /// The name of its line: `io_uring`, or `epoll-lt ×57` where its workers are processes.
    pub line: String,
    /// The model.
    pub model: String,
    /// How many processes served.
    pub processes: u64,
    /// The connections asked for.
    pub asked: u64,
    /// The connections held to the end.
    pub held: u64,
    /// Everything that went wrong.
    pub errors: u64,
    /// What stopped it here.
    pub wall: Option<Wall>,
    load: Value,
}

/// A figure of a rung, by its place in the loader's result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Of {
    /// Bytes of the server's processes.
    Server,
    /// Bytes of the loader.
    Loader,
    /// Bytes of the kernel for a connection, both ends.
    Kernel,
    /// Connections opened a second.
    Connects,
    /// Half of the random round trips took no longer.
    P50,
    /// 99 of 100.
    P99,
    /// The same while the machine was busy connecting.
    ClimbingP50,
    /// 99 of 100.
    ClimbingP99,
    /// Replies checked in all.
    Replies,
    /// Rings that held the loader's ends.
    Rings,
    /// Memory that could be had before, bytes.
    Before,
    /// While all were held.
    During,
    /// After the last close.
    After,
    /// Seconds until it was back.
    Back,
}

impl Of {
    /// All, with the names of the table for spreadsheets.
    pub const ALL: [(Of, &'static str); 14] = [
        (Of::Server, "server_rss_bytes"),
        (Of::Loader, "loader_rss_bytes"),
        (Of::Kernel, "kernel_bytes_per_connection"),
        (Of::Connects, "connects_per_s"),
        (Of::P50, "p50_us"),
        (Of::P99, "p99_us"),
        (Of::ClimbingP50, "climbing_p50_us"),
        (Of::ClimbingP99, "climbing_p99_us"),
        (Of::Replies, "replies"),
        (Of::Rings, "rings"),
        (Of::Before, "memory_before_bytes"),
        (Of::During, "memory_during_bytes"),
        (Of::After, "memory_after_bytes"),
        (Of::Back, "back_s"),
    ];

    fn field(self) -> &'static str {
        Of::ALL.into_iter().find(|(of, _)| *of == self).map_or("", |(_, field)| field)
    }
}

impl Rung {
    fn read(cell: &Value) -> Option<Rung> {
        let load = cell.get("load")?.clone();
        let server = cell.get("server").unwrap_or(&Value::Null);
        let asked = load.get("connections").and_then(Value::as_u64)?;
        let model = server.get("model").and_then(Value::as_str).filter(|name| !name.trim().is_empty());
        let model = model.unwrap_or("?").to_owned();
        let workers = server.get("workers").and_then(Value::as_u64).unwrap_or(1);
        let several = server.get("processes").and_then(Value::as_bool).unwrap_or(false);
        let errors = load.get("errors").and_then(Value::as_object);
        Some(Rung {
            line: model.clone(),
            model,
            processes: if several { workers } else { 1 },
            asked,
            held: load.get("established").and_then(Value::as_u64).unwrap_or(0),
            errors: errors.into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum(),
            wall: load.get("wall").and_then(Wall::read),
            load,
        })
    }

    /// A figure that is there and makes sense.
    pub fn figure(&self, of: Of) -> Option<f64> {
        let crowd = self.load.get("crowd").and_then(|crowd| crowd.get(of.field()));
        let value = crowd.or_else(|| self.load.get(of.field()))?.as_f64()?;
        (value.is_finite() && value >= 0.0).then_some(value)
    }

    /// Bytes of the kernel for all of them.
    pub fn kernel_in_all(&self) -> Option<f64> {
        Some(self.figure(Of::Kernel)? * self.held as f64)
    }

    /// Bytes of the server for one of them.
    pub fn server_each(&self) -> Option<f64> {
        self.figure(Of::Server).filter(|_| self.held > 0).map(|bytes| bytes / self.held as f64)
    }

    /// Errors of one kind.
    pub fn errors_of(&self, kind: &str) -> u64 {
        self.load.pointer("/errors").and_then(|errors| errors.get(kind)).and_then(Value::as_u64).unwrap_or(0)
    }

    /// What ended the line here: a wall before all were held. One that was merely met is none.
    pub fn end(&self) -> Option<&Wall> {
        self.wall.as_ref().filter(|_| self.held < self.asked)
    }
}

/// A whole climb.
#[derive(Debug)]
pub struct Climb {
    /// The rungs, in the order of the file.
    pub rungs: Vec<Rung>,
    /// Cells that could not be read.
    pub unreadable: usize,
    /// Whether everything that was planned was climbed, or ended at a wall.
    pub complete: bool,
    /// Whether the file was cut short.
    pub cut: bool,
    /// The machine.
    pub machine: Value,
}

impl Climb {
    /// Reads a result, if it is one of these.
    pub fn read(value: &Value, cut: bool) -> Option<Climb> {
        if value.get("kind").and_then(Value::as_str) != Some(KIND) {
            return None;
        }
        let cells = value.get("results").and_then(Value::as_array);
        let all: Vec<Option<Rung>> = cells.into_iter().flatten().map(Rung::read).collect();
        let unreadable = all.iter().filter(|rung| rung.is_none()).count();
        let mut rungs: Vec<Rung> = all.into_iter().flatten().collect();
        let machine = rungs.iter().find_map(|rung| rung.load.pointer("/crowd/machine")).cloned();
        name_lines(&mut rungs);
        Some(Climb {
            rungs,
            unreadable,
            complete: !cut && value.get("complete").and_then(Value::as_bool).unwrap_or(true),
            cut,
            machine: machine.unwrap_or(Value::Null),
        })
    }

    /// The names of the lines, in the order of the file.
    pub fn lines(&self) -> Vec<&str> {
        let mut lines: Vec<&str> = Vec::new();
        for rung in &self.rungs {
            if !lines.contains(&rung.line.as_str()) {
                lines.push(&rung.line);
            }
        }
        lines
    }

    /// A line, rising.
    pub fn line(&self, name: &str) -> Vec<&Rung> {
        let mut line: Vec<&Rung> = self.rungs.iter().filter(|rung| rung.line == name).collect();
        line.sort_by_key(|rung| rung.asked);
        line
    }

    /// Where each line came highest.
    pub fn tops(&self) -> Vec<&Rung> {
        let top = |name: &str| self.line(name).into_iter().max_by_key(|rung| rung.held);
        self.lines().into_iter().filter_map(top).collect()
    }

    /// The numbers asked for, rising.
    pub fn steps(&self) -> Vec<u64> {
        let mut steps: Vec<u64> = self.rungs.iter().map(|rung| rung.asked).collect();
        steps.sort_unstable();
        steps.dedup();
        steps
    }

    /// The same as what the parts of compare's page read: walls, machine, what was asked, methods.
    pub fn as_run(&self) -> Run {
        let cell = |rung: &Rung| {
            let wall = rung.end().map(|_| &rung.load["wall"]);
            json!({"model": rung.line, "connections": rung.asked, "established": rung.held,
                "errors": rung.errors, "wall": wall})
        };
        let first = self.rungs.first().map_or(Value::Null, |rung| rung.load.clone());
        let asked = json!({
            "models": self.lines(), "connections": self.steps(), "service": first["speak"],
            "payload_bytes": first["payload_bytes"], "active": first["active"], "window_s": first["duration_s"],
        });
        let methods: serde_json::Map<String, Value> =
            METHODS.iter().map(|(what, how)| ((*what).to_owned(), json!(how))).collect();
        let cells: Vec<Value> = self.rungs.iter().map(cell).collect();
        Run::read(
            &json!({"schema": 1, "machine": self.machine, "asked": asked, "results": cells, "methods": methods}),
            self.cut,
        )
    }

    /// The rungs as a table for spreadsheets (RFC 4180): a figure that is not known is empty.
    pub fn csv(&self) -> String {
        let mut text = "model,processes,connections,established,errors,wrong_bytes,".to_owned();
        text.extend(Of::ALL.map(|(_, field)| format!("{field},")));
        text.push_str("wall\r\n");
        for rung in &self.rungs {
            let quote = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
            let wall = rung.end().map_or(String::new(), |wall| quote(&wall.name));
            let counts = [rung.processes, rung.asked, rung.held, rung.errors, rung.errors_of("wrong_bytes")];
            let counts = counts.map(|count| count.to_string());
            let figures =
                Of::ALL.map(|(of, _)| rung.figure(of).map_or(String::new(), |value| value.to_string()));
            let fields = [[quote(&rung.model)].as_slice(), &counts, &figures, &[wall]].concat();
            text.push_str(&fields.join(","));
            text.push_str("\r\n");
        }
        text
    }
}

/// With several processes their greatest number belongs to the line's name: each rung has as many as it needs.
fn name_lines(rungs: &mut [Rung]) {
    let most = |model: &str, rungs: &[Rung]| {
        let several = rungs.iter().filter(|rung| rung.model == model && rung.processes > 1);
        several.map(|rung| rung.processes).max()
    };
    for at in 0..rungs.len() {
        if let Some(most) = most(&rungs[at].model, rungs) {
            rungs[at].line = format!("{} ×{most}", rungs[at].model);
        }
    }
}

const METHODS: [(&str, &str); 5] = [
    (
        "established",
        "connections that the server held when the window ended: all were dialled and received from, every so many-th \
         one exchanged a message at once, and the server's listen queues were empty",
    ),
    (
        "server memory",
        "the resident set (VmRSS) of the server's process, of several processes the sum of their proportional sets \
         (Pss), while all connections were held",
    ),
    (
        "kernel memory a connection",
        "the rise of Slab and KernelStack (/proc/meminfo) and of TCP's buffers between the first dial and the end of the \
         window, divided by the connections: sockets, their files and inodes, ring or epoll entries of both ends, since \
         both are on this machine",
    ),
    (
        "round trip",
        "one connection, chosen at random among all, exchanges a message; when its reply has come, byte for byte right, \
         the next one does. While climbing as well, told apart: there the machine is busy connecting",
    ),
    ("back after", "from the first close until the sockets were gone and MemAvailable stood still"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(model: &str, workers: u64, connections: u64) -> Value {
        json!({"server": {"model": model, "workers": workers, "processes": workers > 1},
            "load": {"connections": connections, "established": connections, "errors": {"reset": 2}, "p50_us": 60.0,
                "crowd": {"server_rss_bytes": 1000, "kernel_bytes_per_connection": 7000, "machine": {"cpus": 2}}}})
    }

    #[test]
    fn a_line_is_a_model_and_a_server_of_its_size() {
        let cells =
            vec![cell("io_uring", 1, 10), cell("epoll-lt", 1, 10), cell("epoll-lt", 57, 500), json!({})];
        let value = json!({"schema": 1, "kind": KIND, "results": cells});
        let climb = Climb::read(&value, false).expect("a climb");
        assert_eq!(climb.lines(), ["io_uring", "epoll-lt ×57"]);
        assert_eq!(
            (climb.unreadable, climb.steps(), climb.machine["cpus"].clone()),
            (1, vec![10, 500], json!(2))
        );
        let top = climb.tops()[1];
        assert_eq!((top.held, top.processes, top.errors), (500, 57, 2));
        assert_eq!((top.server_each(), top.kernel_in_all()), (Some(2.0), Some(3_500_000.0)));
        let csv = climb.csv();
        let columns = csv.lines().next().expect("a head").split(',').count();
        assert!(
            csv.lines().count() == 4 && csv.lines().all(|line| line.split(',').count() == columns),
            "{csv}"
        );
        assert!(Climb::read(&json!({"schema": 1, "results": []}), false).is_none(), "compare's");
    }
}
