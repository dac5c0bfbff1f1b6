package orlop.deploy;

import java.io.IOException;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.UserDefinedFileAttributeView;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import org.gaul.s3proxy.S3Proxy;
import org.gaul.s3proxy.auth.AuthenticationType;
import org.gaul.s3proxy.nio2blob.FilesystemNio2BlobStore;

/**
 * An S3 server in this Java machine, on a free port of the loop-back interface: real signatures
 * (AWS v2 and v4, wrong keys get 403), real ranges and conditions, objects as plain files under
 * {@code <dir>/<bucket>/<key>}. For demo and development; it has no versioning and stores no
 * checksums.
 *
 * <p>Thread-safe. Closing takes at most about {@value #STOP_TIMEOUT_MS} ms; the files stay.
 */
final class EmbeddedS3 implements AutoCloseable {
  private static final int STOP_TIMEOUT_MS = 2_000;

  /** Where the server looks for the MD5 of an object, which is its ETag. */
  private static final String ETAG_ATTRIBUTE = "user.content-md5";

  private final Path dir;
  private final S3Proxy server;
  private final String accessKey;
  private final String secretKey;

  private EmbeddedS3(Path dir, S3Proxy server, String accessKey, String secretKey) {
    this.dir = dir;
    this.server = server;
    this.accessKey = accessKey;
    this.secretKey = secretKey;
  }

  /**
   * Starts a server that answers when this returns (1–2 s the first time in a process).
   *
   * @param dir holds the buckets as directories; made when absent
   * @throws IOException when the directory cannot be made or the server does not start
   */
  static EmbeddedS3 start(Path dir, String accessKey, String secretKey) throws IOException {
    Files.createDirectories(dir);
    var server =
        S3Proxy.builder()
            .blobStore(new FilesystemNio2BlobStore(dir.toAbsolutePath().toString()))
            .endpoint(URI.create("http://127.0.0.1:0"))
            .awsAuthentication(AuthenticationType.AWS_V2_OR_V4, accessKey, secretKey)
            .ignoreUnknownHeaders(true)
            .stopTimeout(STOP_TIMEOUT_MS)
            .build();
    try {
      server.start();
    } catch (Exception e) {
      throw new IOException("S3 server over " + dir + " did not start", e);
    }
    return new EmbeddedS3(dir, server, accessKey, secretKey);
  }

  /** {@code http://127.0.0.1:<port>}; clients must use path-style addressing. */
  URI endpoint() {
    return URI.create("http://127.0.0.1:" + server.getPort());
  }

  String accessKey() {
    return accessKey;
  }

  String secretKey() {
    return secretKey;
  }

  /** Makes the bucket unless it exists. */
  void createBucket(String bucket) throws IOException {
    Files.createDirectories(inside(bucket));
  }

  /**
   * Puts a file under a key by copying it beneath the server, without HTTP: a reader sees the whole
   * object or none. The bucket is made when absent.
   *
   * @throws IOException also where the file system keeps no attributes of users: the server keeps
   *     an object's ETag there
   */
  void put(String bucket, String key, Path file) throws IOException {
    Path target = inside(bucket).resolve(key).normalize();
    if (!target.startsWith(inside(bucket)) || target.equals(inside(bucket))) {
      throw new IllegalArgumentException(
          "S3 key '" + key + "' must name an object inside its bucket");
    }
    Path parent = target.getParent();
    if (parent != null) {
      Files.createDirectories(parent);
    }
    Path copy = Files.createTempFile(dir, ".put-", null);
    try {
      byte[] bytes = Files.readAllBytes(file);
      Files.write(copy, bytes);
      tag(copy, bytes);
      Files.move(copy, target, StandardCopyOption.ATOMIC_MOVE);
    } finally {
      Files.deleteIfExists(copy);
    }
  }

  private static void tag(Path file, byte[] bytes) throws IOException {
    var attributes = Files.getFileAttributeView(file, UserDefinedFileAttributeView.class);
    if (attributes == null) {
      throw new IOException(
          "file system of " + file + " keeps no extended attributes; choose another directory");
    }
    try {
      var unused =
          attributes.write(
              ETAG_ATTRIBUTE, ByteBuffer.wrap(MessageDigest.getInstance("MD5").digest(bytes)));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }

  @Override
  public void close() throws IOException {
    try {
      server.stop();
    } catch (Exception e) {
      throw new IOException("S3 server at " + endpoint() + " did not stop", e);
    }
  }

  private Path inside(String bucket) {
    Path path = dir.resolve(bucket).normalize();
    if (!dir.normalize().equals(path.getParent())) {
      throw new IllegalArgumentException("S3 bucket '" + bucket + "' must be one plain name");
    }
    return path;
  }
}
