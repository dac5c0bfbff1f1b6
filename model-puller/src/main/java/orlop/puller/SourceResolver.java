package orlop.puller;

import java.net.URI;
import java.nio.file.FileSystemNotFoundException;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.TreeSet;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Finds the store behind a location. A named storage is looked up as KServe does: the key's own
 * {@code storage_key}, else {@code default_<type>}, else {@code default}. Thread-safe.
 */
final class SourceResolver {
  private static final Pattern SCHEME = Pattern.compile("([A-Za-z][A-Za-z0-9+.-]*)://.*|file:.*");

  private final @Nullable Path pvcRoot;
  private final @Nullable Path fileRoot;
  private final S3Clients clients;

  SourceResolver(PullerConfig config, S3Clients clients) {
    this.pvcRoot = config.pvcRoot();
    this.fileRoot = config.fileRoot();
    this.clients = clients;
  }

  Source resolve(ModelLocation location, Map<String, StorageConfig> storages) throws PullException {
    ModelLocation.Key key = ModelLocation.parse(location.path(), location.key()).parsedKey();
    String path = location.path();
    if (!SCHEME.matcher(path).matches()) {
      return inStorage(path, key, storages);
    }
    String scheme = path.substring(0, path.indexOf(':')).toLowerCase(Locale.ROOT);
    return switch (scheme) {
      case "s3" -> {
        String rest = path.substring("s3://".length());
        int slash = rest.indexOf('/');
        String bucket = slash < 0 ? rest : rest.substring(0, slash);
        Named storage = named(path, "s3", key, storages);
        yield s3(
            path,
            bucket,
            slash < 0 ? "" : rest.substring(slash + 1),
            storage != null ? storage : new Named("", new StorageConfig("s3", key.parameters())));
      }
      case "file" -> file(path);
      case "pvc" -> pvc(path, path.substring("pvc://".length()));
      default ->
          throw PullException.badLocation(
              path, "there is no store for '" + scheme + "'; expected s3, file or pvc");
    };
  }

  private Source inStorage(String path, ModelLocation.Key key, Map<String, StorageConfig> storages)
      throws PullException {
    Named storage = named(path, null, key, storages);
    if (storage == null) {
      throw PullException.badLocation(
          path,
          "it is a path inside a storage, but its key names none and there is no storage 'default';"
              + " name one by {\"storage_key\":…}, or write a URI such as file:/…");
    }
    String inner = path.startsWith("/") ? path.substring(1) : path;
    StorageConfig config = storage.config;
    switch (config.type()) {
      case "s3" -> {
        String bucket = config.parameter("bucket");
        bucket = bucket == null ? config.parameter("default_bucket") : bucket;
        if (bucket == null) {
          throw PullException.badLocation(
              path, "neither its key nor storage '" + storage.name + "' names a bucket");
        }
        return s3("s3://" + bucket + "/" + inner, bucket, inner, storage);
      }
      case "pvc" -> {
        String claim = config.parameter("name");
        if (claim == null) {
          throw PullException.badLocation(
              path, "storage '" + storage.name + "' has no \"name\" of a claim");
        }
        return pvc("pvc://" + claim + "/" + inner, claim + "/" + inner);
      }
      default ->
          throw PullException.badLocation(
              path,
              "storage '"
                  + storage.name
                  + "' has type '"
                  + config.type()
                  + "'; expected s3 or pvc");
    }
  }

  private record Named(String name, StorageConfig config) {}

  private static @Nullable Named named(
      String path,
      @Nullable String type,
      ModelLocation.Key key,
      Map<String, StorageConfig> storages)
      throws PullException {
    if (key.storage() != null) {
      StorageConfig config = storages.get(key.storage());
      if (config == null) {
        throw PullException.badLocation(
            path,
            "there is no storage '"
                + key.storage()
                + "'; known: "
                + new TreeSet<>(storages.keySet()));
      }
      if (type != null && !config.type().equals(type)) {
        throw PullException.badLocation(
            path, "storage '" + key.storage() + "' has type '" + config.type() + "', not " + type);
      }
      return new Named(key.storage(), config.with(key.parameters()));
    }
    String wanted = type != null ? type : key.parameters().getOrDefault("type", "");
    for (String name : new String[] {"default_" + wanted, "default"}) {
      StorageConfig config = storages.get(name);
      if (config != null && (wanted.isEmpty() || config.type().equals(wanted))) {
        return new Named(name, config.with(key.parameters()));
      }
    }
    return null;
  }

  private Source s3(String path, String bucket, String prefix, Named storage) throws PullException {
    if (bucket.isEmpty()) {
      throw PullException.badLocation(path, "it has no bucket; expected s3://bucket/prefix");
    }
    for (String part : prefix.split("/")) {
      if (part.equals(".") || part.equals("..")) {
        throw PullException.badLocation(path, "its path contains '" + part + "'");
      }
    }
    S3Clients.Access access = S3Clients.Access.of(path, storage.config);
    Place place = new Place(path, access.endpointName());
    return new S3Source(place, clients.client(place, access), access, storage.name, bucket, prefix);
  }

  private Source file(String path) throws PullException {
    Path file;
    try {
      file = Path.of(URI.create(path)).normalize();
    } catch (IllegalArgumentException | FileSystemNotFoundException e) {
      throw PullException.badLocation(
          path, e.getMessage() + "; expected file:/absolute/path with a space written as %20");
    }
    return new FileSource(new Place(path, "the local disk"), file, fileRoot);
  }

  private Source pvc(String path, String claimAndPath) throws PullException {
    if (pvcRoot == null) {
      throw PullException.badLocation(
          path,
          "this pod mounts no claims; puller.pvcRoot names the directory they are mounted in");
    }
    int slash = claimAndPath.indexOf('/');
    String claim = slash < 0 ? claimAndPath : claimAndPath.substring(0, slash);
    if (claim.isEmpty() || claim.equals(".") || claim.equals("..")) {
      throw PullException.badLocation(path, "it names no claim; expected pvc://claim/path");
    }
    Path root = pvcRoot.resolve(claim);
    Path file = root.resolve(slash < 0 ? "" : strip(claimAndPath.substring(slash))).normalize();
    if (!file.startsWith(root)) {
      throw PullException.badLocation(path, "it leads out of the claim '" + claim + "'");
    }
    return new FileSource(new Place(path, root.toString()), file, root);
  }

  private static String strip(String path) {
    int start = 0;
    while (start < path.length() && path.charAt(start) == '/') {
      start++;
    }
    return path.substring(start);
  }
}
