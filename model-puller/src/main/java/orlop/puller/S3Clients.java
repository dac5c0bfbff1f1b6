package orlop.puller;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.locks.ReentrantLock;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import org.jspecify.annotations.Nullable;
import orlop.puller.PullException.Kind;
import software.amazon.awssdk.auth.credentials.AnonymousCredentialsProvider;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;
import software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.retry.AwsRetryStrategy;
import software.amazon.awssdk.core.checksums.RequestChecksumCalculation;
import software.amazon.awssdk.core.checksums.ResponseChecksumValidation;
import software.amazon.awssdk.core.exception.SdkClientException;
import software.amazon.awssdk.http.SdkHttpClient;
import software.amazon.awssdk.http.apache5.Apache5HttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.S3ClientBuilder;

/**
 * The S3 clients in use, one per distinct {@link Access}, over one connection pool per set of
 * trusted certificates. Thread-safe.
 */
final class S3Clients implements AutoCloseable {
  /** Clients are light: the least recently used one is forgotten when credentials change often. */
  private static final int MAX_CLIENTS = 64;

  /** A pool owns threads and sockets and is kept to the end. */
  private static final int MAX_POOLS = 16;

  /** Connections for listings, beside those for content. */
  private static final int SPARE_CONNECTIONS = 16;

  private final PullerConfig config;
  private final ReentrantLock lock = new ReentrantLock();
  private final Map<Access, S3Client> clients = new LinkedHashMap<>(16, 0.75f, true);
  private final Map<String, SdkHttpClient> pools = new HashMap<>();

  S3Clients(PullerConfig config) {
    this.config = config;
  }

  /** What a client is built from. */
  record Access(
      @Nullable URI endpoint,
      @Nullable String region,
      @Nullable String accessKeyId,
      @Nullable String secretAccessKey,
      @Nullable String sessionToken,
      @Nullable String certificate,
      boolean anonymous,
      boolean etagIsMd5) {

    static Access of(String location, StorageConfig storage) throws PullException {
      String id = storage.parameter("access_key_id");
      String secret = storage.parameter("secret_access_key");
      if ((id == null) != (secret == null)) {
        throw PullException.badLocation(
            location, "its storage has only one of access_key_id and secret_access_key");
      }
      return new Access(
          endpoint(location, storage.parameter("endpoint_url")),
          storage.parameter("region"),
          id,
          secret,
          storage.parameter("session_token"),
          storage.parameter("certificate"),
          "true".equalsIgnoreCase(storage.parameter("anonymous")),
          !"false".equalsIgnoreCase(storage.parameter("etag_is_md5")));
    }

    private static @Nullable URI endpoint(String location, @Nullable String url)
        throws PullException {
      if (url == null) {
        return null;
      }
      URI uri;
      try {
        uri = URI.create(url.contains("://") ? url : "https://" + url);
      } catch (IllegalArgumentException e) {
        throw badEndpoint(location, url);
      }
      boolean http = "http".equals(uri.getScheme()) || "https".equals(uri.getScheme());
      if (!http || uri.getHost() == null || uri.getUserInfo() != null) {
        throw badEndpoint(location, url);
      }
      return uri;
    }

    private static PullException badEndpoint(String location, String url) {
      return PullException.badLocation(
          location, "endpoint_url '" + url + "' is not http://host[:port] or https://host[:port]");
    }

    /** For messages. */
    String endpointName() {
      return endpoint != null ? endpoint.toString() : "AWS " + (region != null ? region : "S3");
    }

    @Override
    public String toString() {
      return "Access[" + endpointName() + "]";
    }
  }

  /**
   * The client of an access, built when first asked for.
   *
   * @throws PullException {@code BAD_LOCATION} where the certificate cannot be read or no region
   *     can be found
   */
  S3Client client(Place place, Access access) throws PullException {
    lock.lock();
    try {
      S3Client known = clients.get(access);
      if (known != null) {
        return known;
      }
    } finally {
      lock.unlock();
    }
    // Built outside of the lock: without a region the SDK may ask the machine's metadata service.
    S3Client built;
    try {
      built = build(place, access, pool(place, access.certificate()));
    } catch (SdkClientException e) {
      boolean noRegion = String.valueOf(e.getMessage()).contains("Unable to load region");
      throw place.failure(
          Kind.BAD_LOCATION,
          noRegion
              ? "no region is known; set 'region' in the storage, or AWS_REGION"
              : "no S3 client can be made: " + S3Failures.line(e),
          e);
    }
    lock.lock();
    try {
      S3Client known = clients.putIfAbsent(access, built);
      if (clients.size() > MAX_CLIENTS) {
        clients.remove(clients.keySet().iterator().next());
      }
      return known != null ? known : built;
    } finally {
      lock.unlock();
    }
  }

  private S3Client build(Place place, Access access, SdkHttpClient pool) {
    S3ClientBuilder builder =
        S3Client.builder()
            .httpClient(pool)
            .credentialsProvider(credentials(access))
            // Whole files are verified against the store's own checksum once they are complete.
            .requestChecksumCalculation(RequestChecksumCalculation.WHEN_REQUIRED)
            .responseChecksumValidation(ResponseChecksumValidation.WHEN_REQUIRED)
            // One place decides about retries, and it is not this one: see Backoff.
            .overrideConfiguration(c -> c.retryStrategy(AwsRetryStrategy.doNotRetry()));
    if (access.region() != null) {
      builder.region(Region.of(access.region()));
    } else if (access.endpoint() != null) {
      builder.region(Region.US_EAST_1);
    }
    if (access.endpoint() != null) {
      builder.endpointOverride(access.endpoint()).forcePathStyle(true);
    } else {
      builder.crossRegionAccessEnabled(true);
    }
    return builder.build();
  }

  private static AwsCredentialsProvider credentials(Access access) {
    if (access.anonymous()) {
      return AnonymousCredentialsProvider.create();
    }
    String id = access.accessKeyId();
    String secret = access.secretAccessKey();
    if (id == null || secret == null) {
      return DefaultCredentialsProvider.builder().build();
    }
    return StaticCredentialsProvider.create(
        access.sessionToken() == null
            ? AwsBasicCredentials.create(id, secret)
            : AwsSessionCredentials.create(id, secret, access.sessionToken()));
  }

  private SdkHttpClient pool(Place place, @Nullable String certificate) throws PullException {
    String key = Objects.requireNonNullElse(certificate, "");
    lock.lock();
    try {
      SdkHttpClient pool = pools.get(key);
      if (pool == null) {
        if (pools.size() == MAX_POOLS) {
          throw place.failure(
              Kind.BAD_LOCATION, "its storage is the " + (MAX_POOLS + 1) + "th with a certificate");
        }
        pool = newPool(place, certificate);
        pools.put(key, pool);
      }
      return pool;
    } finally {
      lock.unlock();
    }
  }

  private SdkHttpClient newPool(Place place, @Nullable String certificate) throws PullException {
    Duration stall = Duration.ofMillis(config.stallTimeoutMs());
    Apache5HttpClient.Builder builder =
        Apache5HttpClient.builder()
            .maxConnections(
                config.maxConcurrentPulls() * config.parallelParts() + SPARE_CONNECTIONS)
            .connectionTimeout(stall)
            .socketTimeout(stall)
            .connectionAcquisitionTimeout(Duration.ofMillis(config.timeoutMs()))
            .expectContinueEnabled(false);
    if (certificate != null) {
      TrustManager[] trusted = trusted(place, certificate);
      builder.tlsTrustManagersProvider(() -> trusted);
    }
    return builder.build();
  }

  private static TrustManager[] trusted(Place place, String pem) throws PullException {
    try {
      KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
      store.load(null, null);
      int number = 0;
      for (Certificate certificate :
          CertificateFactory.getInstance("X.509")
              .generateCertificates(
                  new ByteArrayInputStream(pem.getBytes(StandardCharsets.UTF_8)))) {
        store.setCertificateEntry("authority-" + number++, certificate);
      }
      TrustManagerFactory factory =
          TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
      factory.init(store);
      return factory.getTrustManagers();
    } catch (GeneralSecurityException | IOException e) {
      throw place.failure(
          Kind.BAD_LOCATION, "its storage's certificate is not PEM: " + e.getMessage(), e);
    }
  }

  @Override
  public void close() {
    lock.lock();
    try {
      clients.values().forEach(S3Client::close);
      pools.values().forEach(SdkHttpClient::close);
      clients.clear();
      pools.clear();
    } finally {
      lock.unlock();
    }
  }
}
