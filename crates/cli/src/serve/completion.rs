//! The model `io_uring`: completions (multishot accept and receive). Replaced by branch `completion`.

use super::service::Session;
use super::worker::Worker;
use crate::failure::Failure;

/// Serves on this thread until `worker.stop` is readable and the connections are done or `worker.drain` is over.
/// Calls `worker.ready(..)` once it can accept; a kernel that refuses io_uring is a failure before that.
pub fn serve<S: Session>(_worker: Worker) -> Result<(), Failure> {
    Err(Failure::cannot("the model io_uring is not built yet"))
}
