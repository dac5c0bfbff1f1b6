package orlop.sim;

/** How a call's visit of a pod ended. */
enum Reply {
  SERVED,
  REFUSED,
  LOST;

  /** Hears the reply, once. */
  interface Listener {
    void ended(Reply reply);
  }
}
