/** Pages for now and then: they come together in one further file, when the first of them is opened. */

export { default as audit } from "./audit";
export { default as channels } from "./channels";
export { default as devices } from "./devices";
export { default as knowledge } from "./knowledge";
export { default as metrics } from "./metrics";
export { default as sessions } from "./sessions";
export { default as settings } from "./settings";
