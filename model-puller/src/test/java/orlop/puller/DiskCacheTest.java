package orlop.puller;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import orlop.puller.PullException.Kind;

/** What stays on disk and what leaves, in which order: room for four models of 1,000 bytes. */
final class DiskCacheTest {
  @TempDir Path temp;
  private final AtomicLong nowMs = new AtomicLong(1_000_000);
  private FakeS3 store;
  private ModelPuller puller;

  @BeforeEach
  void open() throws IOException {
    store = new FakeS3();
    for (int i = 0; i < 9; i++) {
      store.objects.put("m" + i, Fixtures.bytes(i, 1_000));
    }
    puller = puller(4_000);
  }

  private ModelPuller puller(long capacityBytes) {
    return new ModelPuller(
        Fixtures.config(temp.resolve("cache"), capacityBytes, Map.of("default", store.storage())),
        nowMs::incrementAndGet);
  }

  @AfterEach
  void close() {
    puller.close();
    store.close();
  }

  private Pulled pull(int model) throws Exception {
    return puller.pull(Fixtures.at("s3://b/m" + model));
  }

  private void use(int... models) throws Exception {
    for (int model : models) {
      pull(model).close();
    }
  }

  /** Which models are on disk, by what a look at the directory tells. */
  private Set<String> onDisk() throws IOException {
    Set<String> names = new TreeSet<>();
    for (String file : Fixtures.files(temp.resolve("cache/entries")).keySet()) {
      if (file.contains("/content/")) {
        names.add(file.substring(file.lastIndexOf('/') + 1));
      }
    }
    return names;
  }

  @Test
  void purgesTheLeastRecentlyUsedFirst() throws Exception {
    use(0, 1, 2, 3, 0, 4);
    assertEquals(Set.of("m0", "m2", "m3", "m4"), onDisk());
    use(5);
    assertEquals(Set.of("m0", "m3", "m4", "m5"), onDisk());
    assertEquals(4_000, puller.stats().cacheBytes());
    assertEquals(2, puller.stats().purged());
    assertEquals(0, Fixtures.children(temp.resolve("cache/trash")));
  }

  @Test
  void neverPurgesWhatIsPinned() throws Exception {
    try (Pulled held = pull(0)) {
      use(1, 2, 3, 4, 5, 6);
      assertTrue(onDisk().contains("m0"));
      assertEquals(1_000, puller.stats().pinnedBytes());
      assertEquals(0, puller.purge(Fixtures.at("s3://b/m0")));
      assertTrue(held.path().toFile().exists());
    }
    use(7);
    assertFalse(onDisk().contains("m0"), "the oldest once nobody holds it");
  }

  @Test
  void refusesWithNumbersWhatCannotFit() throws Exception {
    store.objects.put("big", new byte[4_001]);
    PullException e = Fixtures.refused(Kind.NO_SPACE, () -> puller.pull(Fixtures.at("s3://b/big")));
    assertTrue(e.getMessage().contains("4,001"), e.getMessage());
    assertTrue(e.getMessage().contains("4,000"), e.getMessage());
    try (Pulled a = pull(0);
        Pulled b = pull(1);
        Pulled c = pull(2);
        Pulled d = pull(3)) {
      assertEquals(4_000, a.bytes() + b.bytes() + c.bytes() + d.bytes());
      PullException full = Fixtures.refused(Kind.NO_SPACE, () -> pull(4));
      assertTrue(full.getMessage().contains("4,000 are in use"), full.getMessage());
    }
    use(4);
    assertEquals(9 - 4, store.gets.get(), "what was refused was not fetched");
  }

  @Test
  void contentThatItsSourceHasReplacedLeavesFirst() throws Exception {
    use(0, 1);
    store.objects.put("m1", Fixtures.bytes(99, 999));
    use(1, 2);
    assertEquals(4, puller.stats().cacheEntries());
    use(3);
    assertEquals(Set.of("m0", "m1", "m2", "m3"), onDisk());
    assertEquals(3_999, puller.stats().cacheBytes());
  }

  @Test
  void keepsTheOrderOfUseOverARestart() throws Exception {
    use(0, 1, 2, 3, 1, 0);
    puller.close();
    puller = puller(4_000);
    assertEquals(4_000, puller.stats().cacheBytes());
    use(4, 5);
    assertEquals(Set.of("m0", "m1", "m4", "m5"), onDisk());
  }

  @Test
  void shrinksAtStartWhenItsCapacityWasReduced() throws Exception {
    use(0, 1, 2, 3);
    puller.close();
    puller = puller(2_500);
    assertEquals(Set.of("m2", "m3"), onDisk());
  }

  @Test
  void purgesOnDemand() throws Exception {
    use(0, 1, 2);
    assertEquals(1_000, puller.purge(Fixtures.at("s3://b/m1")));
    assertEquals(Set.of("m0", "m2"), onDisk());
    assertEquals(2_000, puller.purgeAll());
    assertEquals(0, puller.stats().cacheBytes());
    use(0);
    assertEquals(1, puller.stats().cacheEntries());
  }
}
