//! Where settings become a source and a destination. The only module that knows which kinds there are.

use std::sync::Arc;

use replication::{destination::Destination, source::Source};
use secrecy::SecretString;

use crate::{
    command_line::SchemaArguments,
    config::{self, DestinationAddress, Integration, Nested, SchemaName},
    exit::ExitStatus,
    failure::Failure,
};

/// A schema of a destination, ready to be connected to.
#[derive(Debug)]
pub(crate) struct Target {
    /// The destination.
    pub(crate) address: DestinationAddress,
    /// Its password, if it doesn't come from where PostgreSQL's own programs take it.
    pub(crate) password: Option<SecretString>,
    /// The schema.
    pub(crate) schema: SchemaName,
    /// How arrays are kept, if not in the destination's own way.
    pub(crate) nested: Option<Nested>,
}

/// The schema that a command is about: an integration's, or the one named on the command line.
///
/// # Errors
/// When the configuration or the address is wrong.
pub(crate) fn target(arguments: &SchemaArguments) -> Result<Target, Failure> {
    let (Some(address), Some(schema)) = (&arguments.destination, &arguments.schema) else {
        let chosen = &arguments.integration;
        return config::load(&chosen.config, chosen.name.as_deref())?.target();
    };
    let schema = SchemaName::parse(schema).map_err(|error| Failure::configuration(error.to_string()))?;
    let parsed = DestinationAddress::from_argument(address)?;
    Ok(Target { address: parsed.address, password: parsed.password, schema, nested: None })
}

/// The destination of a command that only looks: a DuckDB file that doesn't exist is not made.
///
/// # Errors
/// When there is nothing to look at, or the address is wrong.
pub(crate) fn existing(target: &Target) -> Result<Arc<dyn Destination>, Failure> {
    if let DestinationAddress::DuckDb(path) = &target.address
        && !path.exists()
    {
        let message = format!("The DuckDB file `{}` does not exist", path.display());
        return Err(Failure::new(ExitStatus::Destination, message).with_hint("Run the integration first"));
    }
    destination(target)
}

/// The destination.
///
/// # Errors
/// When the address is wrong.
pub(crate) fn destination(target: &Target) -> Result<Arc<dyn Destination>, Failure> {
    Err(Failure::configuration("STUB"))
}

/// The source of a Bronto integration.
///
/// # Errors
/// When the token is missing, or a setting is wrong.
pub(crate) fn bronto(integration: &Integration) -> Result<Box<dyn Source>, Failure> {
    Err(Failure::configuration("STUB"))
}
