//! Commands about who may use a service: `users` and `tokens`.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use super::{integration::parse_instant, remote::ServerArguments};

/// Where passwords come from; part of the help.
const PASSWORDS: &str = "\
A password comes from BACKSTITCH_PASSWORD or a line of standard input, never from the command line, which others on the
machine can read. It has at least 12 characters.";

/// Arguments of `users`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = false, after_help = PASSWORDS)]
pub(crate) struct UsersArguments {
    /// What to do; all users are listed if nothing is said
    #[command(subcommand)]
    pub(crate) command: Option<UsersCommand>,
    /// Print JSON, as the API answers it
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: ServerArguments,
}

/// What to do with users.
#[derive(Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// List the users
    List,
    /// Make a user
    #[command(after_help = PASSWORDS)]
    Create {
        /// The name, with which the user signs in
        #[arg(value_name = "NAME")]
        name: String,
        /// What the user may do: `administrator`, `member` or `viewer`
        #[arg(long, value_name = "ROLE", default_value = "viewer")]
        role: String,
    },
    /// Give a user another role or password
    #[command(after_help = PASSWORDS)]
    Edit {
        /// The user's name or id
        #[arg(value_name = "NAME")]
        name: String,
        /// Another role: `administrator`, `member` or `viewer`
        #[arg(long, value_name = "ROLE")]
        role: Option<String>,
        /// Give another password, which ends the user's sessions
        #[arg(long)]
        password: bool,
    },
    /// Disable a user, with all tokens and sessions
    Disable {
        /// The user's name or id
        #[arg(value_name = "NAME")]
        name: String,
        /// Do it without asking
        #[arg(long)]
        yes: bool,
    },
}

/// Arguments of `tokens`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = false)]
pub(crate) struct TokensArguments {
    /// What to do; the tokens are listed if nothing is said
    #[command(subcommand)]
    pub(crate) command: Option<TokensCommand>,
    /// Those of this user, by name or id, instead of one's own
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) user: Option<String>,
    /// Print JSON, as the API answers it
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: ServerArguments,
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokensCommand {
    /// List the tokens
    List,
    /// Make a token, and print it and nothing else: it is shown this once
    Create {
        /// Its name, for people
        #[arg(value_name = "NAME")]
        name: String,
        /// What may be done with it: `read` or `write`
        #[arg(long, value_name = "SCOPE", default_value = "read")]
        scope: String,
        /// When it ends; never by itself unless it is given
        #[arg(long, value_name = "INSTANT", value_parser = parse_instant)]
        expires: Option<DateTime<Utc>>,
    },
    /// Revoke a token at once
    Revoke {
        /// The token's id
        #[arg(value_name = "ID")]
        id: String,
    },
}
