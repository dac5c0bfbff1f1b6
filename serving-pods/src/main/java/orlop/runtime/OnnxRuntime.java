package orlop.runtime;

import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtEnvironment.ThreadingOptions;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtLoggingLevel;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.OrtSession.SessionOptions;
import ai.onnxruntime.OrtSession.SessionOptions.OptLevel;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import java.io.IOException;
import java.lang.System.Logger.Level;
import java.net.URISyntaxException;
import java.nio.ByteOrder;
import java.nio.file.FileSystem;
import java.nio.file.FileSystemException;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import orlop.runtime.ModelLoadException.Reason;

/**
 * ONNX models, run in this process by ONNX Runtime, on the CPU or on one NVIDIA GPU. Thread-safe.
 *
 * <p>The engine is set for many small models side by side: one thread pool for all, no spinning, no
 * memory arena and no memory pattern per session (DESIGN.md has the figures).
 */
public final class OnnxRuntime implements ModelRuntime {
  private static final System.Logger LOG = System.getLogger(OnnxRuntime.class.getName());

  /** Below this, a model is loaded with the basic optimisations only: 90 KB become 57. */
  private static final long TINY_MODEL_BYTES = 1 << 20;

  private static final int SAMPLE_COLUMNS = 32;

  private static final Object ENVIRONMENT_LOCK = new Object();

  /** Reserved, not touched, but for what the match needs. */
  private static final long DEEP_STACK_BYTES = 1L << 30;

  private static @Nullable OrtEnvironment sharedEnvironment;
  private static int sharedThreads;

  private final RuntimeConfig config;
  private final Engine engine;
  private final String copyName;

  /**
   * @throws IllegalStateException when the native engine does not start on this machine
   */
  public OnnxRuntime(RuntimeConfig config) {
    this(config, config.gpu() ? Gpu.probe() : new Gpu.Absent("not asked for"));
  }

  OnnxRuntime(RuntimeConfig config, Gpu gpu) {
    if (ByteOrder.nativeOrder() != ByteOrder.LITTLE_ENDIAN) {
      throw new IllegalStateException("raw tensors are little-endian, this machine is not");
    }
    this.config = config;
    try {
      OrtEnvironment environment = environment(config.computeThreads());
      try (SessionOptions options = options(OptLevel.BASIC_OPT)) {
        this.engine =
            new Engine(
                environment,
                new StringTensors(environment),
                new UnsignedCast(environment, options),
                new NativeHeap(config.trimIntervalMs()),
                config.gpu() && gpuWorks(gpu));
      }
    } catch (OrtException | LinkageError e) {
      throw new IllegalStateException("ONNX Runtime does not start: " + e, e);
    }
    this.copyName = MappedCopy.name(engine.environment());
  }

  /**
   * Copies the engine's native libraries for this machine out of its jar. A process that is told
   * the directory by {@code -Donnxruntime.native.path} starts a third of a second earlier, since it
   * need not unpack them again.
   */
  public static void unpackNatives(Path directory) throws IOException {
    Path jar;
    try {
      jar =
          Path.of(OrtEnvironment.class.getProtectionDomain().getCodeSource().getLocation().toURI());
    } catch (URISyntaxException e) {
      throw new IOException("the engine's jar is not a file", e);
    }
    String system = System.getProperty("os.name").startsWith("Mac") ? "osx" : "linux";
    String machine = System.getProperty("os.arch").equals("aarch64") ? "aarch64" : "x64";
    Files.createDirectories(directory);
    try (FileSystem inside = FileSystems.newFileSystem(jar);
        Stream<Path> libraries =
            Files.list(inside.getPath("ai/onnxruntime/native/" + system + "-" + machine))) {
      for (Path library : libraries.toList()) {
        Files.copy(
            library,
            directory.resolve(library.getFileName().toString()),
            StandardCopyOption.REPLACE_EXISTING);
      }
    }
  }

  Engine engine() {
    return engine;
  }

  @Override
  public String name() {
    return engine.onGpu() ? "onnxruntime-gpu" : "onnxruntime";
  }

  @Override
  public boolean supports(String modelType) {
    String type = modelType.toLowerCase(Locale.ROOT);
    return type.equals("onnx") || type.startsWith("onnx:");
  }

  @Override
  public long predictSizeBytes(Path modelPath) throws IOException {
    return OnnxFile.read(modelPath).residentBytes();
  }

  @Override
  public long guessSizeBytes(long fileBytes) {
    return OnnxFile.guessResidentBytes(fileBytes);
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
    if (!supports(modelType)) {
      throw new ModelLoadException(
          Reason.BAD_MODEL,
          "model '"
              + modelId
              + "': type '"
              + modelType
              + "' is not for "
              + name()
              + ", expected onnx or onnx:<version>",
          null);
    }
    OnnxFile file = read(modelId, modelPath);
    OptLevel level =
        file.fileBytes() + file.externalWeightBytes() < TINY_MODEL_BYTES
            ? OptLevel.BASIC_OPT
            : OptLevel.ALL_OPT;
    boolean mapped = config.mappedCopies() && !engine.onGpu() && MappedCopy.suits(file);
    LoadedModel fromCopy = mapped ? fromCopy(modelId, file, beside) : null;
    if (fromCopy != null) {
      return fromCopy;
    }
    OrtSession session;
    long sizeBytes = file.residentBytes();
    boolean measures = sizeBytes >= MeasuredSize.LEAST_BYTES && !engine.onGpu();
    try (NativeHeap.Change load =
        measures ? NativeHeap.loadingMeasured(sizeBytes) : NativeHeap.loading(sizeBytes)) {
      session = createSession(modelId, file, level);
      sizeBytes = MeasuredSize.of(sizeBytes, load.grownBytes());
    }
    try {
      LoadedModel model = OnnxModel.of(modelId, file, sizeBytes, session, engine, () -> {});
      if (mapped) {
        beside.keep(copyName, MappedCopy.mostBytes(file), copy -> makeCopy(file, copy));
      }
      return model;
    } catch (OrtException | ModelLoadException | RuntimeException | Error e) {
      closeQuietly(session);
      throw e instanceof ModelLoadException refused
          ? refused
          : new ModelLoadException(
              Reason.INTERNAL,
              "model '" + modelId + "' at " + file.path() + ": " + e.getMessage(),
              e);
    }
  }

  @Override
  public Optional<Sample> sample() {
    ByteString file =
        OneNodeModel.of(
            "Softmax", ByteString.EMPTY, TensorType.FP32, TensorType.FP32, -1, SAMPLE_COLUMNS);
    return Optional.of(Sample.ofRow("onnx", file, OneNodeModel.INPUT, SAMPLE_COLUMNS));
  }

  @Override
  public void close() {
    engine.casts().close();
  }

  /** The model over its mapped copy; null when there is none that the engine takes. */
  private @Nullable LoadedModel fromCopy(String modelId, OnnxFile file, Beside beside) {
    Beside.Made made = beside.find(copyName);
    if (made == null) {
      return null;
    }
    try (SessionOptions options = options(OptLevel.ALL_OPT)) {
      MappedCopy.Opened opened = MappedCopy.open(engine.environment(), options, made);
      if (opened == null) {
        LOG.log(Level.WARNING, "the copy {0} is no model; its file is loaded", made.path());
        return null;
      }
      try {
        long sizeBytes = file.residentBytes();
        return OnnxModel.of(
            modelId, file, sizeBytes, opened.session(), engine, opened.copy()::close);
      } catch (OrtException | ModelLoadException | RuntimeException | Error e) {
        closeQuietly(opened.session());
        opened.copy().close();
        throw e;
      }
    } catch (OrtException | ModelLoadException e) {
      LOG.log(Level.WARNING, "the copy {0} does not load: {1}", made.path(), e.getMessage());
      return null;
    }
  }

  private void makeCopy(OnnxFile file, Path copy) throws IOException {
    try (SessionOptions options = options(OptLevel.ALL_OPT);
        NativeHeap.Change _ = NativeHeap.loading(file.residentBytes())) {
      MappedCopy.make(engine.environment(), options, file.path(), copy);
    } catch (OrtException e) {
      throw new IOException("the engine does not write it: " + e.getMessage(), e);
    }
  }

  private static OnnxFile read(String modelId, Path modelPath) throws ModelLoadException {
    String where = "model '" + modelId + "': ";
    try {
      return OnnxFile.read(modelPath);
    } catch (NoSuchFileException e) {
      String text = where + modelPath + ": " + OnnxFile.explain(e);
      throw new ModelLoadException(Reason.NOT_FOUND, text, e);
    } catch (InvalidProtocolBufferException e) {
      throw new ModelLoadException(Reason.BAD_MODEL, where + e.getMessage(), e);
    } catch (FileSystemException e) {
      String text = where + e.getFile() + " cannot be read: " + OnnxFile.explain(e);
      throw new ModelLoadException(Reason.INTERNAL, text, e);
    } catch (IOException e) {
      String text = where + modelPath + " cannot be read: " + e.getMessage();
      throw new ModelLoadException(Reason.INTERNAL, text, e);
    }
  }

  private OrtSession createSession(String modelId, OnnxFile file, OptLevel level)
      throws ModelLoadException {
    try (SessionOptions options = options(level)) {
      if (engine.onGpu()) {
        options.addCUDA(config.gpuDevice());
      }
      return engine.environment().createSession(file.path().toString(), options);
    } catch (OrtException e) {
      String text = "model '" + modelId + "' at " + file.path() + ": " + e.getMessage();
      throw new ModelLoadException(reason(e), text, e);
    }
  }

  /*
   * The engine has a few precise codes and two that say little (FAIL, RUNTIME_EXCEPTION). Both
   * come from a graph it cannot take far more often than from anything that a retry would cure.
   */
  private static Reason reason(OrtException e) {
    if (isOutOfMemory(e)) {
      return Reason.OUT_OF_MEMORY;
    }
    return switch (e.getCode()) {
      case ORT_NO_SUCHFILE -> Reason.NOT_FOUND;
      case ORT_ENGINE_ERROR,
          ORT_EP_FAIL,
          ORT_DEVICE_RESET,
          ORT_JAVA_UNKNOWN,
          ORT_OK,
          ORT_MODEL_LOAD_CANCELED ->
          Reason.INTERNAL;
      case ORT_FAIL,
          ORT_INVALID_ARGUMENT,
          ORT_NO_MODEL,
          ORT_RUNTIME_EXCEPTION,
          ORT_INVALID_PROTOBUF,
          ORT_MODEL_LOADED,
          ORT_NOT_IMPLEMENTED,
          ORT_INVALID_GRAPH,
          ORT_MODEL_REQUIRES_COMPILATION,
          ORT_NOT_FOUND ->
          Reason.BAD_MODEL;
    };
  }

  /** The engine has no code for it; these are the texts of its allocators. */
  static boolean isOutOfMemory(OrtException e) {
    String text = String.valueOf(e.getMessage());
    return text.contains("bad_alloc")
        || text.contains("bad allocation")
        || text.contains("Failed to allocate memory")
        || text.contains("Available memory of")
        || text.contains("CUDA out of memory")
        || text.contains("CUDA failure 2:");
  }

  private static SessionOptions options(OptLevel level) throws OrtException {
    SessionOptions options = new SessionOptions();
    try {
      options.disablePerSessionThreads();
      options.setCPUArenaAllocator(false);
      options.setMemoryPatternOptimization(false);
      options.setOptimizationLevel(level);
      // Errors come back as exceptions; the engine would print them a second time.
      options.setSessionLogLevel(OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL);
      return options;
    } catch (OrtException e) {
      options.close();
      throw e;
    }
  }

  private boolean gpuWorks(Gpu gpu) {
    String why =
        switch (gpu) {
          case Gpu.Absent absent -> absent.reason();
          case Gpu.Present present when config.gpuDevice() >= present.devices().size() ->
              "runtime.gpuDevice = "
                  + config.gpuDevice()
                  + ", but the machine has "
                  + present.devices().size()
                  + " device(s)";
          case Gpu.Present present -> {
            try (SessionOptions options = options(OptLevel.BASIC_OPT)) {
              options.addCUDA(config.gpuDevice());
              LOG.log(
                  Level.INFO,
                  "models run on GPU {0}: {1}",
                  config.gpuDevice(),
                  present.devices().get(config.gpuDevice()).name());
              yield "";
            } catch (OrtException | LinkageError e) {
              yield "CUDA is not usable: " + e.getMessage();
            }
          }
        };
    if (!why.isEmpty()) {
      LOG.log(Level.WARNING, "runtime.gpu is set, but models run on the CPU: {0}", why);
    }
    return why.isEmpty();
  }

  /**
   * Makes the environment on a thread with a deep stack: the engine matches the command line of the
   * process with a recursive regular expression, and a class path of some 10 KB overflows an
   * ordinary stack, which ends the process without a word.
   */
  private static OrtEnvironment onDeepStack(ThreadingOptions threads) {
    CompletableFuture<OrtEnvironment> made = new CompletableFuture<>();
    Runnable make =
        () -> {
          try {
            made.complete(
                OrtEnvironment.getEnvironment(
                    OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR, "orlop", threads));
          } catch (RuntimeException | LinkageError e) {
            made.completeExceptionally(e);
          }
        };
    new Thread(null, make, "orlop-onnx-start", DEEP_STACK_BYTES).start();
    try {
      return made.join();
    } catch (CompletionException e) {
      if (e.getCause() instanceof LinkageError error) {
        throw error;
      }
      throw e.getCause() instanceof RuntimeException cause ? cause : e;
    }
  }

  /** The engine allows one environment per process, and its first maker sets the thread pool. */
  private static OrtEnvironment environment(int computeThreads) throws OrtException {
    synchronized (ENVIRONMENT_LOCK) {
      if (sharedEnvironment == null) {
        try (ThreadingOptions threads = new ThreadingOptions()) {
          threads.setGlobalIntraOpNumThreads(computeThreads);
          threads.setGlobalInterOpNumThreads(1);
          threads.setGlobalSpinControl(false);
          sharedEnvironment = onDeepStack(threads);
        }
        sharedThreads = computeThreads;
      } else if (sharedThreads != computeThreads) {
        LOG.log(
            Level.WARNING,
            "runtime.computeThreads = {0} is not applied: this process computes with {1} already",
            computeThreads,
            sharedThreads);
      }
      return sharedEnvironment;
    }
  }

  private static void closeQuietly(OrtSession session) {
    try {
      session.close();
    } catch (OrtException e) {
      LOG.log(Level.WARNING, "a refused model did not close: {0}", e.getMessage());
    }
  }
}
