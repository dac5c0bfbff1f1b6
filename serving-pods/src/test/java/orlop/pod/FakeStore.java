package orlop.pod;

import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;
import orlop.placement.Model;

/** A store whose models need no files: the path is {@code fake:<id>}. */
final class FakeStore implements ModelStore {
  final AtomicInteger open = new AtomicInteger();
  final Map<String, StoreException> failures = new ConcurrentHashMap<>();
  final Map<String, Error> pullErrors = new ConcurrentHashMap<>();
  final Map<String, Error> sizeErrors = new ConcurrentHashMap<>();
  final Map<String, Long> sizes = new ConcurrentHashMap<>();
  volatile long defaultBytes = 1_000;

  @Override
  public Files pull(Model model) throws StoreException {
    StoreException failure = failures.get(model.id());
    if (failure != null) {
      throw failure;
    }
    throwIfSet(pullErrors.get(model.id()));
    open.incrementAndGet();
    AtomicBoolean closed = new AtomicBoolean();
    return new Files() {
      @Override
      public Path path() {
        return Path.of(model.id());
      }

      @Override
      public void close() {
        if (closed.compareAndSet(false, true)) {
          open.decrementAndGet();
        }
      }
    };
  }

  @Override
  public long sizeBytes(Model model) {
    throwIfSet(sizeErrors.get(model.id()));
    return sizes.getOrDefault(model.id(), defaultBytes);
  }

  private static void throwIfSet(@Nullable Error error) {
    if (error != null) {
      throw error;
    }
  }
}
