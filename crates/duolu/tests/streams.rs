//! Streams, written once against a `Stage` and played on TCP and Unix sockets on every backend, and on simulated sockets
//! on every imitation: `module::world::scenario`. DUOLU_TEST_NO_URING=1 leaves io_uring out where it cannot be had.

#[path = "streams/filters.rs"]
mod filters;
#[path = "streams/stage.rs"]
#[macro_use]
mod stage;

#[path = "streams/completions.rs"]
mod completions;
#[path = "streams/connect.rs"]
mod connect;
#[path = "streams/cuts.rs"]
mod cuts;
#[path = "streams/edges.rs"]
mod edges;
#[path = "streams/ends.rs"]
mod ends;
#[path = "streams/flow.rs"]
mod flow;
#[path = "streams/inside.rs"]
mod inside;
#[path = "streams/inside_layers.rs"]
mod inside_layers;
#[path = "streams/layers.rs"]
mod layers;
#[path = "streams/limits.rs"]
mod limits;
#[path = "streams/pairs.rs"]
mod pairs;
#[path = "streams/race.rs"]
mod race;
#[path = "streams/replacing.rs"]
mod replacing;
#[path = "streams/splices.rs"]
mod splices;
#[path = "streams/splices_told.rs"]
mod splices_told;
