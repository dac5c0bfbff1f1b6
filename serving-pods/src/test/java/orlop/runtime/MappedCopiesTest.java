package orlop.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtSession.SessionOptions;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** Larger models are mapped from a copy beside them, answer alike, and let the copy go. */
class MappedCopiesTest extends RuntimeTestBase {
  private static final byte[] MODEL = OnnxModels.dense(256, 1_024, 256);

  /** A directory; makes at once. */
  private final class Shelf implements Beside {
    final AtomicInteger held = new AtomicInteger();

    @Override
    public @Nullable Made find(String name) {
      Path copy = dir.resolve(name);
      if (!Files.exists(copy)) {
        return null;
      }
      held.incrementAndGet();
      return new Made() {
        @Override
        public Path path() {
          return copy;
        }

        @Override
        public void close() {
          held.decrementAndGet();
        }
      };
    }

    @Override
    public void keep(String name, long mostBytes, Maker maker) {
      try {
        maker.make(dir.resolve(name));
        assertTrue(Files.size(dir.resolve(name)) <= mostBytes);
      } catch (IOException e) {
        throw new AssertionError(e);
      }
    }

    Path copy() throws IOException {
      try (var files = Files.list(dir)) {
        return files.filter(file -> file.toString().endsWith(".ort")).findFirst().orElseThrow();
      }
    }
  }

  private final Shelf shelf = new Shelf();

  private LoadedModel load(OnnxRuntime mapping, Path model) throws Exception {
    return mapping.load("m", "onnx", model, "", shelf);
  }

  private static OnnxRuntime mapping() {
    return new OnnxRuntime(new RuntimeConfig(1, false, 0, 0, true));
  }

  private static ModelInferResponse answer(LoadedModel model) throws Exception {
    float[] row = new float[256];
    for (int i = 0; i < row.length; i++) {
      row[i] = i / 256f;
    }
    ModelInferRequest request = raw(input("x", "FP32", 1, 256), floatBytes(row));
    return infer(model, request);
  }

  private static boolean mapped(Path file) throws IOException {
    Path maps = Path.of("/proc/self/maps");
    assumeTrue(Files.exists(maps));
    return Files.readString(maps).contains(file.toString());
  }

  @Test
  void aLaterLoadMapsTheCopyAndAnswersAlike() throws Exception {
    Path file = file(MODEL);
    try (OnnxRuntime mapping = mapping()) {
      ModelInferResponse expected;
      try (LoadedModel first = load(mapping, file)) {
        expected = answer(first);
        assertFalse(mapped(shelf.copy()));
      }
      try (LoadedModel second = load(mapping, file);
          LoadedModel third = load(mapping, file)) {
        assertTrue(mapped(shelf.copy()));
        assertEquals(2, shelf.held.get());
        assertEquals(expected.getOutputsList(), answer(second).getOutputsList());
        assertEquals(
            floats(expected.getRawOutputContents(0)),
            floats(answer(third).getRawOutputContents(0)));
        assertEquals(runtime.predictSizeBytes(file), second.sizeBytes());
      }
      assertFalse(mapped(shelf.copy()), "the copy stays mapped after the last unload");
      assertEquals(0, shelf.held.get());
    }
  }

  /** To the nearest thousandth: unpacked weights are summed in another order. */
  private static String floats(com.google.protobuf.ByteString raw) {
    var numbers = raw.asReadOnlyByteBuffer().order(java.nio.ByteOrder.LITTLE_ENDIAN);
    StringBuilder text = new StringBuilder();
    while (numbers.hasRemaining()) {
      text.append(Math.round(numbers.getFloat() * 1_000)).append(' ');
    }
    return text.toString();
  }

  @Test
  void aCopyThatIsNoModelGivesWayToTheFile() throws Exception {
    Path file = file(MODEL);
    try (OnnxRuntime mapping = mapping()) {
      load(mapping, file).close();
      byte[] copy = Files.readAllBytes(shelf.copy());
      for (byte[] broken :
          new byte[][] {{}, {1, 2, 3}, Arrays.copyOf(copy, copy.length / 2), new byte[5_000]}) {
        Files.write(shelf.copy(), broken);
        try (LoadedModel model = load(mapping, file)) {
          assertEquals(1, answer(model).getOutputsCount());
        }
        assertEquals(0, shelf.held.get());
      }
    }
  }

  @Test
  void smallModelsAndPodsThatDoNotAskForItHaveNone() throws Exception {
    load(runtime, file(MODEL)).close();
    try (OnnxRuntime mapping = mapping()) {
      load(mapping, file(OnnxModels.dense(16, 32, 8))).close();
    }
    try (var files = Files.list(dir)) {
      assertTrue(files.noneMatch(file -> file.toString().endsWith(".ort")));
    }
  }

  @Test
  void aCopyThatCannotBeOpenedIsLetGoWhateverIsThrown() throws Exception {
    try (OnnxRuntime runtime = mapping();
        LoadedModel model = load(runtime, file(MODEL))) {
      assertTrue(model.sizeBytes() > 0);
      Beside.Made made = Objects.requireNonNull(shelf.find(shelf.copy().getFileName().toString()));
      SessionOptions closed = new SessionOptions();
      closed.close();
      assertThrows(
          IllegalStateException.class,
          () -> MappedCopy.open(OrtEnvironment.getEnvironment(), closed, made));
      assertEquals(0, shelf.held.get());
    }
  }
}
