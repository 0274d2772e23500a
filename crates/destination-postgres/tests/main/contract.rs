//! The contract that every destination keeps.

use crate::subject::Server;

replication::contract_tests!(Server::start());
