//! The fetcher from outside: the real program, a double of Vault's API that does as it is told, files in memory, the
//! report.

#![cfg(test)]

mod bed;
mod canaries;
mod check;
mod delivery;
mod leaks;
mod outage;
mod rotation;
mod vault;
