package orlop.controller;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import orlop.placement.MeshView;
import orlop.registry.Registry;

/** Waiting for a registry's view to be as hoped. */
final class Views {
  private Views() {}

  /** Whether the view met the condition within the time; blocks for that long at most. */
  static boolean await(Registry registry, Predicate<MeshView> condition, long timeoutMs) {
    if (condition.test(registry.view())) {
      return true;
    }
    CountDownLatch met = new CountDownLatch(1);
    try (Registry.Subscription s =
        registry.listen(
            view -> {
              if (condition.test(view)) {
                met.countDown();
              }
            })) {
      return met.await(timeoutMs, TimeUnit.MILLISECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    }
  }
}
