package orlop.deploy;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Consumer;

/**
 * The demo's models: trained once, then taken from a cache directory.
 *
 * <pre>
 * &lt;cacheDir&gt;/index.json             everything a {@link DemoModel} says, for every model
 * &lt;cacheDir&gt;/&lt;modelId&gt;/model.onnx
 * </pre>
 *
 * <p>The index carries a key, a hash over the datasets, the recipes and the trainer's version;
 * another key means training anew. The directory appears whole or not at all, and a lock file
 * beside it makes processes that start together train once.
 */
final class DemoModels {
  private static final String INDEX = "index.json";
  private static final String FILE = "model.onnx";
  private static final int PROGRESS_STEP = 50;

  private DemoModels() {}

  /** The file {@code index.json}. */
  record Index(String key, List<Entry> models) {}

  /** One model in the index; {@code inputShape} as ONNX says it, −1 for any number of rows. */
  record Entry(
      String id,
      String dataset,
      String input,
      List<Integer> inputShape,
      String output,
      int[] columns,
      List<String> classes,
      double accuracy,
      int[] heldOutTruth,
      int[] heldOutPredicted) {}

  /**
   * The models, trained now (seconds on two cores) or read from the cache.
   *
   * @param cacheDir replaced as a whole when its key is another; its parent must be writable
   * @param progress told about training in lines fit for a person; not called when the cache serves
   * @throws IOException when data cannot be read or the cache not be written
   */
  static List<DemoModel> prepare(Path cacheDir, Consumer<String> progress) throws IOException {
    Path dir = cacheDir.toAbsolutePath().normalize();
    Path parent = dir.resolveSibling(".");
    Files.createDirectories(parent);
    Path lockFile = dir.resolveSibling(dir.getFileName() + ".lock");
    List<DemoData.Dataset> datasets = DemoData.load();
    List<DemoRecipe> recipes = DemoRecipe.all(datasets);
    String key = key(recipes);
    var json = new ObjectMapper();
    try (var channel =
            FileChannel.open(lockFile, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
        var _ = channel.lock()) {
      Path index = dir.resolve(INDEX);
      if (Files.exists(index)) {
        Index cached = read(json, index);
        List<DemoModel> models = models(dir, cached);
        if (cached.key().equals(key) && models.stream().allMatch(m -> Files.exists(m.file()))) {
          return models;
        }
      }
      Index trained = train(dir, datasets, recipes, key, json, progress);
      return models(dir, trained);
    }
  }

  /** A broken index counts as another key: the cache can always be made again. */
  private static Index read(ObjectMapper json, Path index) {
    try {
      return json.readValue(index.toFile(), Index.class);
    } catch (IOException e) {
      return new Index("", List.of());
    }
  }

  private static Index train(
      Path dir,
      List<DemoData.Dataset> datasets,
      List<DemoRecipe> recipes,
      String key,
      ObjectMapper json,
      Consumer<String> progress)
      throws IOException {
    var byName = new HashMap<String, DemoData.Dataset>();
    datasets.forEach(dataset -> byName.put(dataset.name(), dataset));
    Path fresh = dir.resolveSibling(dir.getFileName() + ".new");
    deleteTree(fresh);
    Files.createDirectories(fresh);
    int threads = Runtime.getRuntime().availableProcessors();
    progress.accept("training " + recipes.size() + " models on " + threads + " threads");
    var entries = new ArrayList<Entry>();
    try (var pool = Executors.newFixedThreadPool(threads)) {
      var futures = new ArrayList<Future<Entry>>();
      for (DemoRecipe recipe : recipes) {
        var dataset = byName.get(recipe.dataset());
        if (dataset == null) {
          throw new IllegalStateException(
              "recipe " + recipe.id() + " wants unknown dataset " + recipe.dataset());
        }
        futures.add(pool.submit(() -> write(fresh, recipe, DemoTrainer.train(recipe, dataset))));
      }
      try {
        for (var future : futures) {
          entries.add(future.get());
          if (entries.size() % PROGRESS_STEP == 0) {
            progress.accept("trained " + entries.size() + " of " + recipes.size() + " models");
          }
        }
      } catch (ExecutionException e) {
        pool.shutdownNow();
        throw new IOException("training the demo's models failed", e.getCause());
      } catch (InterruptedException e) {
        pool.shutdownNow();
        Thread.currentThread().interrupt();
        throw new IOException("interrupted while training the demo's models", e);
      }
    }
    var index = new Index(key, List.copyOf(entries));
    json.writeValue(fresh.resolve(INDEX).toFile(), index);
    deleteTree(dir);
    Files.move(fresh, dir, StandardCopyOption.ATOMIC_MOVE);
    return index;
  }

  private static Entry write(Path dir, DemoRecipe recipe, DemoTrainer.Trained trained)
      throws IOException {
    Path home = Files.createDirectories(dir.resolve(recipe.id()));
    Files.write(home.resolve(FILE), trained.onnx());
    int[] columns = recipe.columns().stream().mapToInt(Integer::intValue).toArray();
    return new Entry(
        recipe.id(),
        recipe.dataset(),
        DemoModel.INPUT,
        List.of(-1, columns.length),
        DemoModel.OUTPUT,
        columns,
        trained.classes(),
        trained.accuracy(),
        trained.truth(),
        trained.predicted());
  }

  private static List<DemoModel> models(Path dir, Index index) {
    return index.models().stream()
        .map(
            entry ->
                new DemoModel(
                    entry.id(),
                    entry.dataset(),
                    dir.resolve(entry.id()).resolve(FILE),
                    entry.columns(),
                    entry.classes(),
                    entry.accuracy(),
                    entry.heldOutTruth(),
                    entry.heldOutPredicted()))
        .toList();
  }

  private static String key(List<DemoRecipe> recipes) throws IOException {
    MessageDigest sha;
    try {
      sha = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
    for (String name : DemoData.NAMES) {
      sha.update(DemoData.bytes(name));
    }
    sha.update((DemoTrainer.VERSION + recipes.toString()).getBytes(StandardCharsets.UTF_8));
    return HexFormat.of().formatHex(sha.digest());
  }

  private static void deleteTree(Path dir) throws IOException {
    if (!Files.exists(dir)) {
      return;
    }
    try (var paths = Files.walk(dir)) {
      for (Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(path);
      }
    }
  }
}
