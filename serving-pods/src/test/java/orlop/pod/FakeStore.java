package orlop.pod;

import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import orlop.placement.Model;

/** A store whose models need no files: the path is {@code fake:<id>}. */
final class FakeStore implements ModelStore {
  final AtomicInteger open = new AtomicInteger();
  final Map<String, StoreException> failures = new ConcurrentHashMap<>();
  final Map<String, Long> sizes = new ConcurrentHashMap<>();
  volatile long defaultBytes = 1_000;

  @Override
  public Files pull(Model model) throws StoreException {
    StoreException failure = failures.get(model.id());
    if (failure != null) {
      throw failure;
    }
    open.incrementAndGet();
    return new Files() {
      @Override
      public Path path() {
        return Path.of(model.id());
      }

      @Override
      public void close() {
        open.decrementAndGet();
      }
    };
  }

  @Override
  public long sizeBytes(Model model) {
    return sizes.getOrDefault(model.id(), defaultBytes);
  }
}
