//! How a verb ends when it does not end well: an exit code, and a sentence that says who is at fault and
//! what to do.

use std::process::ExitCode;

/// Why the command ends with something other than 0.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// An expectation that the user set did not hold (exit code 1).
    pub fn expectation(message: impl Into<String>) -> Self {
        Failure { code: 1, message: message.into() }
    }
    /// What was measured failed while it was (exit code 1): the target, not us.
    pub fn target(message: impl Into<String>) -> Self {
        Failure { code: 1, message: message.into() }
    }
    /// The command line asks for something that makes no sense (exit code 2).
    pub fn usage(message: impl Into<String>) -> Self {
        Failure { code: 2, message: message.into() }
    }
    /// The machine does not let us: a permission, a kernel feature, a port in use (exit code 3).
    pub fn cannot(message: impl Into<String>) -> Self {
        Failure { code: 3, message: message.into() }
    }
    /// Interrupted by the user; what was measured so far has been printed (exit code 130).
    pub fn interrupted() -> Self {
        Failure { code: 130, message: String::new() }
    }
    /// The same, and which part of the command line it is about.
    pub fn within(self, what: &str) -> Self {
        Failure { message: format!("{what}: {}", self.message), ..self }
    }
    /// The sentence.
    pub fn message(&self) -> &str {
        &self.message
    }
    /// Prints the sentence to stderr and gives the exit code.
    pub fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            crate::terminal::tell(&format!("duolu: {}", self.message));
        }
        ExitCode::from(self.code)
    }
}
