//! The page of the feature `status`, at real sockets.

mod actions;
mod browser;
mod crowd;
mod devtools;
mod events;
mod formats;
mod guards;
mod hundred_thousand;
mod names;
mod rows;
mod site;
mod stacks;
