//! Bronto's streams as a source, and the tap-bronto program
