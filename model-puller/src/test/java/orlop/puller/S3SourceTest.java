package orlop.puller;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.adobe.testing.s3mock.S3MockApplication;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509TrustManager;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import software.amazon.awssdk.auth.credentials.AnonymousCredentialsProvider;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.ChecksumAlgorithm;
import software.amazon.awssdk.services.s3.model.CompletedPart;

/** The contract on a server that speaks all of S3, and what is special about S3. */
@Tag("slow")
final class S3SourceTest extends SourceContract {
  private static S3MockApplication server;
  private static S3Client client;
  private static int number;

  @TempDir Path temp;
  private String bucket;
  private ModelPuller puller;

  @BeforeAll
  static void start() {
    server =
        S3MockApplication.start(
            new HashMap<>(
                Map.of(
                    "http.port", "0",
                    "server.port", "0",
                    "spring.main.banner-mode", "off",
                    "logging.level.root", "warn")));
    client =
        S3Client.builder()
            .endpointOverride(URI.create(endpoint()))
            .forcePathStyle(true)
            .region(Region.US_EAST_1)
            .credentialsProvider(AnonymousCredentialsProvider.create())
            .build();
  }

  @AfterAll
  static void stop() {
    client.close();
    server.stop();
  }

  private static String endpoint() {
    return "http://127.0.0.1:" + server.getHttpPort();
  }

  @BeforeEach
  void open() {
    bucket = "bucket-" + number++;
    client.createBucket(b -> b.bucket(bucket));
    StorageConfig storage =
        new StorageConfig(
            "s3",
            Map.of(
                "endpoint_url", endpoint(),
                "access_key_id", "id",
                "secret_access_key", "secret-text"));
    puller =
        new ModelPuller(
            Fixtures.config(temp.resolve("cache"), 64 << 20, Map.of("default", storage)));
  }

  @AfterEach
  void close() {
    puller.close();
  }

  @Override
  ModelPuller puller() {
    return puller;
  }

  @Override
  void put(String name, byte[] bytes) {
    client.putObject(b -> b.bucket(bucket).key("base/" + name), RequestBody.fromBytes(bytes));
  }

  @Override
  ModelLocation location(String name) {
    return Fixtures.at("s3://" + bucket + "/base/" + name);
  }

  private List<String> verifiedBy() throws Exception {
    List<String> verified = new ArrayList<>();
    try (var entries = Files.newDirectoryStream(temp.resolve("cache/entries"))) {
      for (Path entry : entries) {
        Manifest manifest =
            new ObjectMapper().readValue(entry.resolve("manifest.json").toFile(), Manifest.class);
        manifest.files().forEach(file -> verified.add(file.verifiedBy()));
      }
    }
    return verified;
  }

  @Test
  void verifiesEachKindOfChecksumThatTheStoreKeeps() throws Exception {
    byte[] bytes = Fixtures.bytes(3, 200_000);
    for (ChecksumAlgorithm algorithm :
        List.of(
            ChecksumAlgorithm.CRC32,
            ChecksumAlgorithm.CRC32_C,
            ChecksumAlgorithm.SHA1,
            ChecksumAlgorithm.SHA256)) {
      String key = "sums/" + algorithm;
      client.putObject(
          b -> b.bucket(bucket).key(key).checksumAlgorithm(algorithm),
          RequestBody.fromBytes(bytes));
      try (Pulled pulled = puller.pull(Fixtures.at("s3://" + bucket + "/" + key))) {
        assertArrayEquals(bytes, Files.readAllBytes(pulled.path()));
      }
    }
    assertEquals(
        List.of("CRC32", "CRC32C", "SHA1", "SHA256"), verifiedBy().stream().sorted().toList());
  }

  @Test
  void bringsAnObjectThatWasUploadedInParts() throws Exception {
    byte[] first = Fixtures.bytes(4, 5 << 20);
    byte[] second = Fixtures.bytes(5, 100_000);
    String upload = client.createMultipartUpload(b -> b.bucket(bucket).key("parts/m")).uploadId();
    List<CompletedPart> parts = new ArrayList<>();
    for (byte[] part : List.of(first, second)) {
      int partNumber = parts.size() + 1;
      String etag =
          client
              .uploadPart(
                  b -> b.bucket(bucket).key("parts/m").uploadId(upload).partNumber(partNumber),
                  RequestBody.fromBytes(part))
              .eTag();
      parts.add(CompletedPart.builder().partNumber(partNumber).eTag(etag).build());
    }
    client.completeMultipartUpload(
        b -> b.bucket(bucket).key("parts/m").uploadId(upload).multipartUpload(m -> m.parts(parts)));
    try (Pulled pulled = puller.pull(Fixtures.at("s3://" + bucket + "/parts/m"))) {
      byte[] bytes = Files.readAllBytes(pulled.path());
      assertEquals(first.length + second.length, bytes.length);
      assertEquals(second[99_999], bytes[bytes.length - 1]);
    }
  }

  @Test
  void findsAModelByAPathInsideANamedStorage() throws Exception {
    put("keyed/a", "a".getBytes());
    String key = "{\"storage_key\":\"default\",\"storage_params\":{\"bucket\":\"" + bucket + "\"}}";
    try (Pulled pulled = puller.pull(ModelLocation.parse("base/keyed", key))) {
      assertEquals("a", Files.readString(pulled.directory().resolve("a")));
    }
  }

  @Test
  void saysThatTheBucketIsMissing() {
    PullException e =
        Fixtures.refused(
            PullException.Kind.NOT_FOUND, () -> puller.pull(Fixtures.at("s3://no-bucket/m")));
    assertTrue(e.getMessage().contains("NoSuchBucket"), e.getMessage());
  }

  @Test
  void trustsTheAuthorityThatItsStorageNames() throws Exception {
    put("tls/a", "a".getBytes(StandardCharsets.UTF_8));
    Map<String, String> parameters =
        new HashMap<>(
            Map.of(
                "endpoint_url", "https://localhost:" + server.getPort(),
                "access_key_id", "id",
                "secret_access_key", "secret-text"));
    puller.useStorages(Map.of("default", new StorageConfig("s3", parameters)));
    PullException e =
        Fixtures.refused(PullException.Kind.BAD_LOCATION, () -> puller.pull(location("tls")));
    assertTrue(e.getMessage().contains("certification path"), e.getMessage());
    parameters.put("certificate", certificate(server.getPort()));
    puller.useStorages(Map.of("default", new StorageConfig("s3", parameters)));
    try (Pulled pulled = puller.pull(location("tls"))) {
      assertEquals("a", Files.readString(pulled.path().resolve("a")));
    }
  }

  /** The certificate that a server shows, as PEM. */
  private static String certificate(int port) throws Exception {
    List<X509Certificate> shown = new ArrayList<>();
    X509TrustManager curious =
        new X509TrustManager() {
          @Override
          public void checkClientTrusted(X509Certificate[] chain, String type) {}

          @Override
          public void checkServerTrusted(X509Certificate[] chain, String type) {
            shown.addAll(List.of(chain));
          }

          @Override
          public X509Certificate[] getAcceptedIssuers() {
            return new X509Certificate[0];
          }
        };
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, new TrustManager[] {curious}, null);
    try (SSLSocket socket =
        (SSLSocket) context.getSocketFactory().createSocket("localhost", port)) {
      socket.startHandshake();
    }
    return "-----BEGIN CERTIFICATE-----\n"
        + Base64.getMimeEncoder().encodeToString(shown.getFirst().getEncoded())
        + "\n-----END CERTIFICATE-----\n";
  }
}
