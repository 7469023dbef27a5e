//! The update of an app: what it runs, what it asks, and what becomes of everything that can go wrong.

mod all;
mod applying;
mod failing;
mod hooks;
mod left_out;
mod made_here;
mod profiles;
mod pulling;
mod refusing;
mod rolling_back;
mod secrets;
mod unchanged;
