package orlop.pod;

import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.stream.Collectors;
import orlop.placement.Model;
import orlop.runtime.LoadedModel;
import orlop.runtime.ModelLoadException;
import orlop.runtime.ModelRuntime;

/**
 * Brings one model from its store into memory. Thread-safe; {@link #load} blocks and is meant for
 * virtual threads.
 */
final class Loader implements AutoCloseable {
  private final ModelStore store;
  private final List<ModelRuntime> runtimes;

  /** Loading is native work that would hold the carriers of virtual threads. */
  private final ExecutorService threads;

  Loader(ModelStore store, List<ModelRuntime> runtimes, int concurrency) {
    this.store = store;
    this.runtimes = List.copyOf(runtimes);
    this.threads =
        Executors.newFixedThreadPool(
            concurrency, Thread.ofPlatform().daemon().name("orlop-load-", 0).factory());
  }

  /** Why a model did not load, in one line, and whether only a change of the model can help. */
  static final class LoadException extends Exception {
    private static final long serialVersionUID = 1L;
    private final boolean permanent;

    LoadException(boolean permanent, String message, Throwable cause) {
      super(message, cause);
      this.permanent = permanent;
    }

    boolean permanent() {
      return permanent;
    }
  }

  /** The size of the model's files; 0 when its store does not tell. */
  long sizeBytes(Model model) throws LoadException, InterruptedException {
    try {
      return store.sizeBytes(model);
    } catch (ModelStore.StoreException e) {
      throw new LoadException(e.permanent(), message(e), e);
    } catch (RuntimeException e) {
      throw new LoadException(false, "size of " + model.path() + " is unknown: " + e, e);
    }
  }

  Held load(Model model) throws LoadException, InterruptedException {
    long startNs = System.nanoTime();
    ModelRuntime runtime = runtimeFor(model);
    ModelStore.Files files;
    try {
      files = store.pull(model);
    } catch (ModelStore.StoreException e) {
      throw new LoadException(e.permanent(), message(e), e);
    } catch (RuntimeException e) {
      throw new LoadException(false, "pull of " + model.path() + " failed: " + e, e);
    }
    boolean done = false;
    try {
      LoadedModel loaded = load(runtime, model, files);
      done = true;
      return new Held(model, loaded, files, (System.nanoTime() - startNs) / 1_000_000);
    } finally {
      if (!done) {
        files.close();
      }
    }
  }

  private LoadedModel load(ModelRuntime runtime, Model model, ModelStore.Files files)
      throws LoadException, InterruptedException {
    try {
      return threads.submit(() -> runtime.load(model.id(), model.type(), files.path())).get();
    } catch (ExecutionException e) {
      if (e.getCause() instanceof ModelLoadException refused) {
        boolean permanent =
            switch (refused.reason()) {
              case BAD_MODEL, NOT_FOUND -> true;
              case OUT_OF_MEMORY, INTERNAL -> false;
            };
        throw new LoadException(permanent, message(refused), refused);
      }
      throw new LoadException(false, "runtime " + runtime.name() + " failed: " + e.getCause(), e);
    }
  }

  private ModelRuntime runtimeFor(Model model) throws LoadException {
    for (ModelRuntime runtime : runtimes) {
      if (runtime.supports(model.type())) {
        return runtime;
      }
    }
    String names = runtimes.stream().map(ModelRuntime::name).collect(Collectors.joining(", "));
    String why =
        "no runtime of this pod loads models of type '" + model.type() + "'; it has: " + names;
    throw new LoadException(true, why, new IllegalArgumentException(why));
  }

  private static String message(Exception e) {
    String message = e.getMessage();
    return message == null ? e.toString() : message;
  }

  @Override
  public void close() {
    threads.shutdown();
  }
}
