//! Why a chore stopped, and what the person at the keyboard can do about it.

use std::{error::Error, fmt, io, path::Path};

/// A failure that ends the program: a message, the chain of causes and, where there is one, a remedy.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    cause: Option<Box<dyn Error>>,
    remedy: Option<String>,
}

impl Failure {
    /// A failure that says `message`: a capital first, no full stop at the end.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), cause: None, remedy: None }
    }

    /// A file or folder that the system would not let us handle; `action` reads like `Could not write`.
    pub(crate) fn file(action: &str, path: &Path, cause: io::Error) -> Self {
        Self::new(format!("{action} `{}`", path.display())).because(cause)
    }

    /// Adds what lies beneath.
    pub(crate) fn because(self, cause: impl Error + 'static) -> Self {
        Self { cause: Some(Box::new(cause)), ..self }
    }

    /// Adds what to do about it.
    pub(crate) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// Tells the failure to the person at the keyboard, on standard error: the message, the causes, all remedies.
    pub(crate) fn report(&self) {
        eprint!("{}", self.full_text());
    }

    fn full_text(&self) -> String {
        let mut text = format!("error: {self}\n");
        let mut hints: Vec<&str> = self.remedy.as_deref().into_iter().collect();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(&format!("  because: {error}\n"));
            hints.extend(error.downcast_ref().and_then(|inner: &Self| inner.remedy.as_deref()));
            cause = error.source();
        }
        // The deepest cause has the remedy that is nearest to the matter.
        for hint in hints.iter().rev() {
            text.push_str(&format!("hint: {hint}\n"));
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_and_all_remedies_are_told() {
        let inner = Failure::new("`npm pack` exited with 1").remedy("Ask for the network");
        let outer = Failure::new("Step `build` failed").because(inner).remedy("Repeat the step");
        assert_eq!(
            outer.full_text(),
            "error: Step `build` failed\n  because: `npm pack` exited with 1\n\
             hint: Ask for the network\nhint: Repeat the step\n"
        );
    }
}
