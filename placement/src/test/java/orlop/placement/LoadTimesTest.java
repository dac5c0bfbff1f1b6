package orlop.placement;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

final class LoadTimesTest {
  private static final int MB = 1_000_000;

  private final LoadTimes times = new LoadTimes();

  @Test
  void smallModelsDoNotSayThatLargeOnesTakeLong() {
    long before = times.expectedMs("onnx", 1_000L * MB, false);
    for (int i = 0; i < 1_000; i++) {
      times.pulled(1_000, 3);
      times.loaded("onnx", 1_000, LoadTimes.START_MS);
    }
    long after = times.expectedMs("onnx", 1_000L * MB, false);
    assertTrue(after < 2 * before, before + " ms before, " + after + " ms after");
  }

  @Test
  void aSlowStorageIsLearnt() {
    for (int i = 0; i < 40; i++) {
      times.pulled(100 * MB, 10_000);
    }
    assertEquals(10.0 * MB, times.pullBytesPerS(), MB);
  }

  @Test
  void eachTypeHasItsRate() {
    for (int i = 0; i < 40; i++) {
      times.loaded("slow", 100 * MB, 10_000 + LoadTimes.START_MS);
      times.loaded("quick", 100 * MB, 100 + LoadTimes.START_MS);
    }
    assertEquals(10.0 * MB, times.loadBytesPerS().getOrDefault("slow", 0L), MB);
    assertEquals(1_000.0 * MB, times.loadBytesPerS().getOrDefault("quick", 0L), 100 * MB);
    assertEquals(LoadTimes.START_MS + 250, times.expectedMs("other", 100 * MB, true));
  }
}
