package orlop.runtime;

import ai.djl.Model;
import ai.djl.engine.EngineException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import orlop.runtime.ModelLoadException.Reason;

/**
 * Runs TorchScript files (types {@code pytorch} and {@code torchscript}) by PyTorch's own library
 * in this process. Found by the service loader where its module is on the class path.
 */
public final class TorchRuntime implements ModelRuntime {
  private static final String ENGINE = "PyTorch";

  /** A module without weights takes about so much. */
  private static final long SMALL_MODEL_BYTES = 256 << 10;

  public TorchRuntime() {
    // The library is inside the jars; and calls bring their own threads.
    unlessSet("ai.djl.offline", "true");
    unlessSet("ai.djl.pytorch.num_threads", "1");
    unlessSet("ai.djl.pytorch.num_interop_threads", "1");
    // It would compile anew for each shape that comes, in the calls of whoever comes first.
    unlessSet("ai.djl.pytorch.graph_optimizer", "false");
  }

  private static void unlessSet(String key, String value) {
    if (System.getProperty(key) == null) {
      System.setProperty(key, value);
    }
  }

  @Override
  public String name() {
    return "pytorch";
  }

  @Override
  public boolean supports(String modelType) {
    int colon = modelType.indexOf(':');
    String format = colon < 0 ? modelType : modelType.substring(0, colon);
    return format.equals("pytorch") || format.equals("torchscript");
  }

  @Override
  public long predictSizeBytes(Path modelPath) throws IOException {
    return guessSizeBytes(Files.size(locate(modelPath)));
  }

  /** Weights lie in memory as they lie in the file. */
  @Override
  public long guessSizeBytes(long fileBytes) {
    return SMALL_MODEL_BYTES + fileBytes + fileBytes / 10;
  }

  /** The one TorchScript file at the path or below it, as in {@code 1/model.pt}. */
  private static Path locate(Path modelPath) throws IOException {
    if (Files.isRegularFile(modelPath)) {
      return modelPath;
    }
    try (Stream<Path> below = Files.walk(modelPath, 2)) {
      List<Path> files =
          below.filter(Files::isRegularFile).filter(TorchRuntime::named).limit(2).toList();
      if (files.size() != 1) {
        String found = files.isEmpty() ? "none" : files.toString();
        throw new NoSuchFileException(
            modelPath.toString(), null, "one file .pt or .pts expected, found " + found);
      }
      return files.getFirst();
    }
  }

  private static boolean named(Path file) {
    String name = file.getFileName().toString();
    return name.endsWith(".pt") || name.endsWith(".pts");
  }

  @Override
  public LoadedModel load(String modelId, String modelType, Path modelPath)
      throws ModelLoadException {
    return load(modelId, modelType, modelPath, "", Beside.NOWHERE);
  }

  @Override
  public LoadedModel load(
      String modelId, String modelType, Path modelPath, String key, Beside beside)
      throws ModelLoadException {
    Signature declared = DeclaredTensors.in(modelId, key);
    String where = "model '" + modelId + "' at " + modelPath + ": ";
    Model model;
    try {
      model = Model.newInstance(modelId, ENGINE);
    } catch (EngineException | LinkageError e) {
      throw new ModelLoadException(
          Reason.INTERNAL, where + "PyTorch's library does not start: " + e.getMessage(), e);
    }
    boolean loaded = false;
    try {
      Path file = locate(modelPath);
      model.load(file.toAbsolutePath().getParent(), file.getFileName().toString());
      LoadedModel ready = new TorchModel(modelId, model, predictSizeBytes(file), declared);
      loaded = true;
      return ready;
    } catch (NoSuchFileException | FileNotFoundException e) {
      throw new ModelLoadException(Reason.NOT_FOUND, where + e.getMessage(), e);
    } catch (IOException e) {
      throw new ModelLoadException(Reason.INTERNAL, where + e.getMessage(), e);
    } catch (ai.djl.MalformedModelException | EngineException e) {
      throw new ModelLoadException(
          Reason.BAD_MODEL, where + "no TorchScript: " + cause(e.getMessage()), e);
    } finally {
      if (!loaded) {
        model.close();
      }
    }
  }

  /** The line that says what is wrong, among those of the interpreter's and PyTorch's stacks. */
  static String cause(@Nullable String text) {
    List<String> lines = text == null ? List.of() : text.lines().toList();
    return lines.stream()
        .filter(line -> line.contains("Error: "))
        .findFirst()
        .or(() -> lines.stream().findFirst())
        .orElse("");
  }

  @Override
  public void close() {}
}
